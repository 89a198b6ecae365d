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

// Workers wait for a round of work, take indices from one counter, and report.
class Pool {
 public:
  void run(int workers, int64_t count, void (*task)(void*, int64_t, int), void* context) {
    {
      const std::lock_guard lock(mutex_);
      task_ = task;
      context_ = context;
      count_ = count;
      next_.store(0, std::memory_order_relaxed);
      wanted_ = std::min(workers - 1, static_cast<int>(threads_));
      busy_ = wanted_;
      ++round_;
    }
    wake_.notify_all();
    work(0);
    std::unique_lock lock(mutex_);
    done_.wait(lock, [&] { return busy_ == 0; });
    if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
  }

  // As many as can be had. Threads are never joined: the process ends with them.
  int grow(int workers) {
    while (threads_ + 1 < workers) {
      try {
        std::thread([this, number = threads_ + 1, round = round_] {
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
  void serve(int number, int64_t seen) {
    for (;;) {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [&] { return round_ != seen; });
      seen = round_;
      if (number > wanted_) continue;
      lock.unlock();
      work(number);
      lock.lock();
      if (--busy_ == 0) done_.notify_one();
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
  std::atomic<int64_t> next_{0};
  void (*task_)(void*, int64_t, int) = nullptr;
  void* context_ = nullptr;
  int64_t count_ = 0, round_ = 0;
  int wanted_ = 0, busy_ = 0, threads_ = 0;
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
