/* What a program in C does with the engine: reads weights, and evaluates a box of water.
 *
 * Arguments: the weights, and a file of atomic numbers and positions, an atom a line.
 * Prints the kernel, the energy, and a line with the force on each atom. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "forcegate.h"

enum { MOST_BYTES = 1 << 22, MOST_ATOMS = 1000 };

static char weights[MOST_BYTES];
static int64_t numbers[MOST_ATOMS];
static double positions[3 * MOST_ATOMS], forces[3 * MOST_ATOMS];

static int failed(const forcegate_error* error) {
  fprintf(stderr, "%d: %s\n", (int)error->code, error->text);
  return 1;
}

int main(int count, char** arguments) {
  if (count != 3) return 2;
  FILE* file = fopen(arguments[1], "rb");
  if (!file) return 2;
  const size_t size = fread(weights, 1, MOST_BYTES, file);
  fclose(file);
  file = fopen(arguments[2], "r");
  if (!file) return 2;
  int64_t n = 0;
  while (n < MOST_ATOMS && fscanf(file, "%" SCNd64 " %lf %lf %lf", &numbers[n], &positions[3 * n],
                                  &positions[3 * n + 1], &positions[3 * n + 2]) == 4)
    ++n;
  fclose(file);

  forcegate_error error;
  forcegate_model* model = NULL;
  if (forcegate_open(weights, size, NULL, &model, &error)) return failed(&error);
  forcegate_info info;
  if (forcegate_describe(model, &info, &error)) return failed(&error);
  const double cell[9] = {12.0, 0.0, 0.0, 2.0, 12.5, 0.0, -1.0, 3.0, 13.0};
  const uint8_t pbc[3] = {1, 1, 1};
  const forcegate_structures structures = {
      .n_structures = 1, .total_atoms = n, .n_atoms = &n, .atomic_numbers = numbers,
      .positions = positions, .cells = cell, .pbc = pbc};
  double energy = 0.0;
  const forcegate_answers answers = {.energy = &energy, .forces = forces};
  if (forcegate_evaluate(model, &structures, &answers, 2, &error)) return failed(&error);
  printf("%s\n%.9f\n", info.kernel, energy);
  for (int64_t i = 0; i < n; ++i)
    printf("%.9f %.9f %.9f\n", forces[3 * i], forces[3 * i + 1], forces[3 * i + 2]);
  forcegate_close(model);
  return 0;
}
