"""The codes under which refused requests are counted: a closed list, whatever callers send."""

from __future__ import annotations

__all__ = ["OTHER", "PROBLEM_CODES", "counted_code"]

# Those of docs/errors.md, where each is explained; a test holds the two together.
PROBLEM_CODES = frozenset(
    {
        "atoms_too_close",
        "body_too_large",
        "cell_missing",
        "cell_singular",
        "charge_mismatch",
        "charge_unsupported",
        "content_encoding_unsupported",
        "coordinate_out_of_range",
        "deadline_exceeded",
        "digest_mismatch",
        "dipole_undefined",
        "dynamics_blew_up",
        "element_unsupported",
        "elements_contradictory",
        "field_missing",
        "field_repeated",
        "field_unknown",
        "forbidden",
        "format_unsupported",
        "friction_missing",
        "host_not_allowed",
        "input_unreadable",
        "invalid_structure",
        "malformed_body",
        "malformed_request",
        "method_not_allowed",
        "model_not_approved",
        "model_not_found",
        "multiplicity_unsupported",
        "no_atoms",
        "no_default_version",
        "not_acceptable",
        "not_finite",
        "not_ready",
        "on_error_unknown",
        "payload_too_large",
        "prediction_failed",
        "prediction_implausible",
        "prediction_not_finite",
        "property_unknown",
        "property_unsupported",
        "quota_exceeded",
        "record_unreadable",
        "relax_cell_unsupported",
        "report_contradictory",
        "report_file_not_found",
        "request_timeout_invalid",
        "route_not_found",
        "run_changed",
        "runtime_unavailable",
        "schema_unsupported",
        "server_fault",
        "shape_mismatch",
        "steps_contradictory",
        "stopping",
        "stress_undefined",
        "structure_too_large",
        "too_many_atoms",
        "too_many_connections",
        "too_many_pairs",
        "too_many_reports",
        "too_many_requests",
        "too_many_runs",
        "too_many_structures",
        "too_many_values",
        "type_mismatch",
        "unauthorized",
        "unprocessable_request",
        "unsupported_media_type",
        "value_out_of_range",
        "version_not_found",
    }
)
OTHER = "other"


def counted_code(code: str) -> str:
    """``code`` if it is one of ours."""
    return code if code in PROBLEM_CODES else OTHER
