/* forcegate: energies, forces and charges of molecules and crystals by a distilled student.
 *
 * Units: Å, eV, e. B structures lie one after the other in flat arrays of N atoms. Every function
 * returns a code; with another one than FORCEGATE_OK nothing but `error` was written, unless it
 * says so. No function ends the process or throws. Arrays stay the caller's, are never kept, and
 * must be as long as said: nobody can check that.
 *
 * One model may be used by any number of threads at a time. Results are bit-equal for a structure
 * alone and in a batch, and for every number of threads, on one machine with one kernel.
 */
#ifndef FORCEGATE_H
#define FORCEGATE_H

#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define FORCEGATE_API __attribute__((visibility("default")))
#else
#define FORCEGATE_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* Grows with every change of a structure or function below. */
#define FORCEGATE_ABI 9

enum forcegate_code {
  FORCEGATE_OK = 0,
  FORCEGATE_BAD_ARGUMENT = 1,     /* a pointer, a size or a number that no call may have */
  FORCEGATE_BAD_WEIGHTS = 2,      /* bytes that are no weights of a student */
  FORCEGATE_UNKNOWN_ELEMENT = 3,  /* an atom of an element that the student does not know */
  FORCEGATE_BAD_STRUCTURE = 4,    /* positions or a cell that no structure has */
  FORCEGATE_TOO_LARGE = 5,        /* more neighbors or memory than a structure may take */
  FORCEGATE_OUT_OF_MEMORY = 6,
  FORCEGATE_NO_KERNEL = 7,        /* a kernel that this processor cannot run */
  FORCEGATE_NOT_FINITE = 8,       /* the student has no finite answer; all outputs are written */
  FORCEGATE_NO_CHARGES = 9,       /* a net charge or charges of a student that knows none */
  FORCEGATE_INTERNAL = 10
};

/* `structure` is the index of the first structure that is to blame, or -1. */
typedef struct {
  int32_t code;
  int32_t reserved;
  int64_t structure;
  char text[496];
} forcegate_error;

typedef struct forcegate_model forcegate_model;

typedef struct {
  int32_t interface;       /* 1: a network alone; 2: with charges and what acts at any distance */
  int32_t width, depth, n_radial, readout_width, n_elements;
  double cutoff;           /* of the network, Å */
  double pair_cutoff;      /* of pairs in periodic structures, Å; 0 for interface 1 */
  const int64_t* elements; /* [n_elements], atomic numbers; live as long as the model */
  const char* kernel;      /* "avx512", "avx2", "neon" or "portable" */
} forcegate_info;

typedef struct {
  int64_t n_structures;          /* B */
  int64_t total_atoms;           /* N */
  const int64_t* n_atoms;        /* [B], their sum is N */
  const int64_t* atomic_numbers; /* [N] */
  const double* positions;       /* [N, 3] in Å */
  const double* cells;           /* [B, 3, 3] in Å, rows are vectors; may be NULL if pbc is */
  const uint8_t* pbc;            /* [B, 3]; NULL: all structures are open */
  const double* charges;         /* [B] net charges in e; NULL: neutral. Interface 1 knows none. */
} forcegate_structures;

/* Any of them may be NULL: what nobody reads is not computed where that saves time. */
typedef struct {
  double* energy;             /* [B] in eV */
  double* forces;             /* [N, 3] in eV/Å */
  double* virial;             /* [B, 3, 3] in eV, symmetric: -stress · volume */
  double* charges;            /* [N] in e; NULL for interface 1 */
  double* energy_uncertainty; /* [B] in eV */
  double* atom_novelty;       /* [N] */
} forcegate_answers;

/* How one structure moves. Times in fs, temperatures in K. */
typedef struct {
  int64_t start_step; /* of the first one: a run that goes on has the noise of one that never ended */
  double timestep;
  double friction;    /* of the Langevin thermostat (BAOAB), 1/fs; 0: none, velocity Verlet */
  double temperature; /* of the thermostat */
  uint64_t seed;
  uint32_t stream;    /* which noise the structure has, wherever it lies */
  uint32_t reserved;
} forcegate_ensemble;

typedef struct {
  int64_t steps;
  const forcegate_ensemble* ensembles; /* [B] */
  const double* masses;                /* [N] in u */
  const uint8_t* fixed;                /* [N]: atoms that stay where they are; may be NULL */
} forcegate_dynamics;

/* What moves: read at the start, and written after each step. */
typedef struct {
  double* positions;    /* [N, 3] in Å, never wrapped into a cell */
  double* velocities;   /* [N, 3] in Å/fs */
  const double* forces; /* [N, 3] in eV/Å at `positions`, as this model answers; NULL: not known */
  int64_t steps_done;
} forcegate_motion;

/* Where FIRE is with one structure; zeros: at its begin. */
typedef struct {
  double step, mixing;
  int32_t downhill, started;
} forcegate_fire;

/* `steps` and `converged` are written for each structure, `positions` with every step. A relaxation
 * goes on as if it had never stopped with its `velocities` and `fires`, which may both be NULL. */
typedef struct {
  const double* force;       /* [B] in eV/Å; no atom of a converged structure has a larger one */
  const int64_t* most_steps; /* [B] */
  const uint8_t* fixed;      /* [N]: atoms that stay where they are; may be NULL */
  const double* forces;      /* [N, 3] in eV/Å at `positions`, as this model answers; NULL: not known */
  double* positions;         /* [N, 3] in Å, never wrapped into a cell */
  double* velocities;        /* [N, 3], FIRE's own */
  forcegate_fire* fires;     /* [B] */
  int64_t* steps;            /* [B] */
  uint8_t* converged;        /* [B] */
} forcegate_relaxation;

/* What is asked about structures before anything is computed from them, and the answers. Pointers to
 * answers may be NULL. */
typedef struct {
  double cutoff;          /* Å; of the network that will see the structures */
  double pair_cutoff;     /* Å; of pairs in periodic structures; 0: no pairs, they are not counted */
  int64_t n_numbers;      /* atomic numbers are below */
  const double* shortest; /* [n_numbers, n_numbers] in Å: how close atoms of two elements may be */
  int64_t* edges;         /* [B]: ordered pairs of atoms within the cutoff */
  int64_t* pairs;         /* [B]: pairs, each once; all there are of an open structure */
  double* nearest;        /* [N] in Å: of each atom its nearest neighbor, infinity without any */
  /* Of each structure the two neighbors that are closest for their elements: their distance over
   * `shortest`, infinity without any; the distance in Å; and which atoms they are. */
  double* closeness;      /* [B] */
  double* distance;       /* [B] */
  int64_t* closest;       /* [B, 2] */
  /* Of each atom the neighbor that is closest for its elements: their distance over `shortest`,
   * infinity without any. */
  double* isolation;      /* [N] */
} forcegate_survey_of;

FORCEGATE_API int32_t forcegate_abi(void);

/* The kernels of this library that this processor runs, best first; NULL from `index` on that there
 * is none for. */
FORCEGATE_API const char* forcegate_kernel(int32_t index);

/* Reads the content of a `model.safetensors`, and checks all of it before anything is computed.
 * `kernel` names one, NULL takes the best. The bytes are not needed afterwards. */
FORCEGATE_API int32_t forcegate_open(const void* bytes, size_t size, const char* kernel,
                                     forcegate_model** model, forcegate_error* error);

FORCEGATE_API int32_t forcegate_describe(const forcegate_model* model, forcegate_info* info,
                                         forcegate_error* error);

/* NULL is allowed; no call with this model may be running. */
FORCEGATE_API void forcegate_close(forcegate_model* model);

/* Needs no model: how close atoms are, images included, and how much there will be to compute. */
FORCEGATE_API int32_t forcegate_survey(const forcegate_structures* structures,
                                       const forcegate_survey_of* asked, forcegate_error* error);

/* `threads` at most; 0: one for each processor that this process may use. */
FORCEGATE_API int32_t forcegate_evaluate(const forcegate_model* model,
                                         const forcegate_structures* structures,
                                         const forcegate_answers* answers, int32_t threads,
                                         forcegate_error* error);

/* Moves all structures by some steps; `answers` are those of the last. The positions in `structures`
 * are not read. `motion` and nothing else is written when a step fails: the state before it. */
FORCEGATE_API int32_t forcegate_integrate(const forcegate_model* model,
                                          const forcegate_structures* structures,
                                          const forcegate_dynamics* dynamics,
                                          forcegate_motion* motion,
                                          const forcegate_answers* answers, int32_t threads,
                                          forcegate_error* error);

/* Moves each structure downhill by FIRE until its forces are small or its steps are used up; those
 * that have arrived are not evaluated again but for `answers`. The positions in `structures` are not
 * read. */
FORCEGATE_API int32_t forcegate_relax(const forcegate_model* model,
                                      const forcegate_structures* structures,
                                      forcegate_relaxation* relaxation,
                                      const forcegate_answers* answers, int32_t threads,
                                      forcegate_error* error);

#ifdef __cplusplus
}
#endif

#endif
