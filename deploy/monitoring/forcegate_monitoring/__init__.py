"""Writes what watches gateways: alert rules from a template, dashboards from code."""
