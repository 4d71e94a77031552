#include "core/thread_pool.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <exception>

namespace nearfield {

struct ThreadPool::Job {
    Job(std::size_t task_count, const std::function<void(std::size_t)>& task_body)
        : count(task_count), task(task_body) {}

    const std::size_t count;
    const std::function<void(std::size_t)>& task;  // outlives every task: the caller waits for all of them
    std::atomic<std::size_t> next{0};
    std::atomic<bool> failed{false};

    std::mutex mutex;
    std::condition_variable all_ended;
    std::size_t ended = 0;     // guarded by mutex
    std::exception_ptr error;  // guarded by mutex
};

ThreadPool::ThreadPool(std::size_t threads) : process_(getpid()) {
    workers_.reserve(threads > 0 ? threads - 1 : 0);
    for (std::size_t i = 1; i < threads; ++i) workers_.emplace_back([this] { work(); });
}

ThreadPool::~ThreadPool() {
    if (getpid() != process_) {  // forked since: the threads stayed behind, perhaps one of them with the lock
        for (std::thread& worker : workers_) worker.detach();
        return;
    }
    {
        const std::lock_guard lock(mutex_);
        stopping_ = true;
    }
    wake_.notify_all();
    for (std::thread& worker : workers_) worker.join();
}

void ThreadPool::parallel_for(std::size_t count, const std::function<void(std::size_t)>& task) {
    if (count == 0) return;
    const auto job = std::make_shared<Job>(count, task);
    const std::size_t helpers = std::min(count - 1, workers_.size());
    if (helpers > 0) {
        {
            const std::lock_guard lock(mutex_);
            jobs_.insert(jobs_.end(), helpers, job);
        }
        for (std::size_t i = 0; i < helpers; ++i) wake_.notify_one();
    }
    run_tasks(*job);
    std::unique_lock lock(job->mutex);
    job->all_ended.wait(lock, [&] { return job->ended == job->count; });
    if (job->error) std::rethrow_exception(job->error);
}

void ThreadPool::run_tasks(Job& job) {
    for (std::size_t i = job.next.fetch_add(1); i < job.count; i = job.next.fetch_add(1)) {
        std::exception_ptr error;
        if (!job.failed.load()) {
            try {
                job.task(i);
            } catch (...) {
                error = std::current_exception();
                job.failed.store(true);
            }
        }
        const std::lock_guard lock(job.mutex);
        if (error && !job.error) job.error = error;
        if (++job.ended == job.count) job.all_ended.notify_all();
    }
}

void ThreadPool::work() {
    for (;;) {
        std::shared_ptr<Job> job;
        {
            std::unique_lock lock(mutex_);
            wake_.wait(lock, [this] { return stopping_ || !jobs_.empty(); });
            if (stopping_) return;
            job = std::move(jobs_.front());
            jobs_.pop_front();
        }
        run_tasks(*job);
    }
}

}  // namespace nearfield
