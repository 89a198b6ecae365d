#include "threads.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <exception>
#include <thread>
#include <utility>
#include <vector>

#if defined(__linux__)
#include <sched.h>
#endif

namespace forcegate {

namespace {

constexpr int kMostThreads = 256;

// Rounds of work follow each other within some microseconds while a call is running, and then for a
// long time there is none: whoever waits looks for the next one this often before it goes to sleep.
constexpr int kLooks = 4000;

void look_away() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#else
  std::this_thread::yield();
#endif
}

// Workers wait for a round of work, take indices from one counter, and report. The round and how
// many of them it wants are one number: who is wanted is waited for, so that all else that belongs
// to the round stays what it is while they read it, and nobody else reads it.
class Pool {
 public:
  void run(int workers, int64_t count, void (*task)(void*, int64_t, int), void* context) {
    const int wanted = std::min(workers - 1, threads_);
    task_ = task;
    context_ = context;
    count_ = count;
    next_.store(0, std::memory_order_relaxed);
    busy_.store(wanted, std::memory_order_relaxed);
    {
      const std::lock_guard lock(mutex_);
      round_.store((number_of(round_.load()) + 1) << kBits | wanted);
    }
    wake_.notify_all();
    work(0);
    for (int look = 0; busy_.load() && look < kLooks; ++look) look_away();
    if (busy_.load()) {
      std::unique_lock lock(mutex_);
      done_.wait(lock, [&] { return busy_.load() == 0; });
    }
    if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
  }

  // As many as can be had. Threads are never joined: the process ends with them.
  int grow(int workers) {
    while (threads_ + 1 < workers) {
      try {
        std::thread([this, number = threads_ + 1, round = round_.load()] {
          serve(number, round);
        }).detach();
      } catch (const std::system_error&) {
        break;
      }
      ++threads_;
    }
    return std::min(workers, threads_ + 1);
  }

  std::mutex owner;  // of the whole pool, for one call

 private:
  static constexpr int kBits = 16;
  static int64_t number_of(int64_t round) { return round >> kBits; }

  void serve(int number, int64_t seen) {
    for (;;) {
      for (int look = 0; round_.load() == seen && look < kLooks; ++look) look_away();
      if (round_.load() == seen) {
        std::unique_lock lock(mutex_);
        wake_.wait(lock, [&] { return round_.load() != seen; });
      }
      seen = round_.load();
      if (number > (seen & ((1 << kBits) - 1))) continue;
      work(number);
      if (busy_.fetch_sub(1) == 1) {
        const std::lock_guard lock(mutex_);
        done_.notify_one();
      }
    }
  }

  void work(int number) {
    try {
      for (;;) {
        const int64_t index = next_.fetch_add(1, std::memory_order_relaxed);
        if (index >= count_) return;
        task_(context_, index, number);
      }
    } catch (...) {
      next_.store(count_, std::memory_order_relaxed);
      const std::lock_guard lock(mutex_);
      if (!failure_) failure_ = std::current_exception();
    }
  }

  std::mutex mutex_;
  std::condition_variable wake_, done_;
  std::atomic<int64_t> round_{0}, next_{0};
  std::atomic<int> busy_{0};
  void (*task_)(void*, int64_t, int) = nullptr;
  void* context_ = nullptr;
  int64_t count_ = 0;
  int threads_ = 0;
  std::exception_ptr failure_;
};

struct OwnedPool {
  Pool pool;
  pid_t owner = getpid();
};

// The pool of this process; that of a parent process has no threads here, and is left alone.
Pool& pool() {
  static std::atomic<OwnedPool*> current{nullptr};
  OwnedPool* found = current.load();
  if (!found || found->owner != getpid()) {
    auto* fresh = new OwnedPool;
    if (current.compare_exchange_strong(found, fresh))
      found = fresh;
    else
      delete fresh;
  }
  return found->pool;
}

void run_alone(Team&, int64_t count, void (*task)(void*, int64_t, int), void* context) {
  for (int64_t index = 0; index < count; ++index) task(context, index, 0);
}

void run_pool(Team& team, int64_t count, void (*task)(void*, int64_t, int), void* context) {
  pool().run(team.workers, count, task, context);
}

}  // namespace

int processors() {
#if defined(__linux__)
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) return std::max(1, CPU_COUNT(&set));
#endif
  return std::max(1u, std::thread::hardware_concurrency());
}

Team alone() { return {1, run_alone}; }

SharedTeam::SharedTeam(int threads) : team_(alone()), owned_(false) {
  const int wanted = std::min(threads > 0 ? threads : processors(), kMostThreads);
  if (wanted < 2 || !pool().owner.try_lock()) return;
  owned_ = true;
  const int workers = pool().grow(wanted);
  if (workers > 1) team_ = {workers, run_pool};
}

SharedTeam::~SharedTeam() {
  if (owned_) pool().owner.unlock();
}

}  // namespace forcegate
