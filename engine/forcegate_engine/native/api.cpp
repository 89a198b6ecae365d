// The border: from here on out there are codes, and no exceptions.

#include <algorithm>
#include <cstring>
#include <new>

#include "dynamics.h"
#include "evaluate.h"
#include "failure.h"
#include "forcegate.h"
#include "model.h"
#include "relaxation.h"
#include "survey.h"

using namespace forcegate;

namespace {

int32_t tell(forcegate_error* error, forcegate_code code, const char* text, int64_t structure) {
  if (error) {
    error->code = code;
    error->reserved = 0;
    error->structure = structure;
    const size_t length = std::min(std::strlen(text), sizeof error->text - 1);
    std::memcpy(error->text, text, length);
    std::memset(error->text + length, 0, sizeof error->text - length);
  }
  return code;
}

template <typename Work>
int32_t guarded(forcegate_error* error, const Work& work) {
  try {
    work();
    return tell(error, FORCEGATE_OK, "", -1);
  } catch (const Failure& failure) {
    return tell(error, failure.code, failure.text.c_str(), failure.structure);
  } catch (const std::bad_alloc&) {
    return tell(error, FORCEGATE_OUT_OF_MEMORY, "no memory left", -1);
  } catch (const std::exception& other) {
    return tell(error, FORCEGATE_INTERNAL, other.what(), -1);
  } catch (...) {
    return tell(error, FORCEGATE_INTERNAL, "an unknown failure", -1);
  }
}

}  // namespace

int32_t forcegate_abi(void) { return FORCEGATE_ABI; }

const char* forcegate_kernel(int32_t index) {
  const Kernel* kernel = kernel_here(index);
  return kernel ? kernel->name : nullptr;
}

int32_t forcegate_open(const void* bytes, size_t size, const char* kernel, forcegate_model** model,
                       forcegate_error* error) {
  return guarded(error, [&] {
    if (!bytes || !model) fail(FORCEGATE_BAD_ARGUMENT, "no bytes, or no place for the model");
    *model = nullptr;
    *model = new forcegate_model(bytes, size, kernel_named(kernel));
  });
}

int32_t forcegate_describe(const forcegate_model* model, forcegate_info* info,
                           forcegate_error* error) {
  return guarded(error, [&] {
    if (!model || !info) fail(FORCEGATE_BAD_ARGUMENT, "no model, or no place for what it is");
    const Student& student = model->student;
    *info = {student.physics ? 2 : 1,
             model->width,
             student.shape.depth,
             model->n_radial,
             student.shape.features,
             student.shape.elements,
             student.cutoff,
             student.physics ? student.physics->cutoff : 0.0,
             model->elements.data(),
             model->kernel.name};
  });
}

void forcegate_close(forcegate_model* model) { delete model; }

int32_t forcegate_survey(const forcegate_structures* structures, const forcegate_survey_of* asked,
                         forcegate_error* error) {
  return guarded(error, [&] {
    if (!structures || !asked)
      fail(FORCEGATE_BAD_ARGUMENT, "no structures, or nothing asked about them; expected both");
    survey(*structures, *asked);
  });
}

int32_t forcegate_evaluate(const forcegate_model* model, const forcegate_structures* structures,
                           const forcegate_answers* answers, int32_t threads,
                           forcegate_error* error) {
  return guarded(error, [&] {
    if (!model || !structures || !answers)
      fail(FORCEGATE_BAD_ARGUMENT, "no model, structures or answers; expected all three");
    evaluate(*model, *structures, *answers, threads);
  });
}

int32_t forcegate_integrate(const forcegate_model* model, const forcegate_structures* structures,
                            const forcegate_dynamics* dynamics, forcegate_motion* motion,
                            const forcegate_answers* answers, int32_t threads,
                            forcegate_error* error) {
  return guarded(error, [&] {
    if (!model || !structures || !dynamics || !motion || !answers)
      fail(FORCEGATE_BAD_ARGUMENT,
           "no model, structures, dynamics, motion or answers; expected all five");
    integrate(*model, *structures, *dynamics, *motion, *answers, threads);
  });
}

int32_t forcegate_relax(const forcegate_model* model, const forcegate_structures* structures,
                        forcegate_relaxation* relaxation, const forcegate_answers* answers,
                        int32_t threads, forcegate_error* error) {
  return guarded(error, [&] {
    if (!model || !structures || !relaxation || !answers)
      fail(FORCEGATE_BAD_ARGUMENT,
           "no model, structures, relaxation or answers; expected all four");
    relax(*model, *structures, *relaxation, *answers, threads);
  });
}
