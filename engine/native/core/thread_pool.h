#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace nearfield {

// Threads that help whoever calls `parallel_for`. Any number of callers may use one pool at once, also from
// inside a task: a caller works through its own tasks and never waits for one that nobody has begun.
class ThreadPool {
public:
    // `threads` counts the calling thread, so a pool of one starts none.
    explicit ThreadPool(std::size_t threads);
    ~ThreadPool();
    ThreadPool(const ThreadPool&) = delete;
    ThreadPool& operator=(const ThreadPool&) = delete;

    std::size_t threads() const { return workers_.size() + 1; }

    // Runs task(0) ... task(count - 1), each once, and returns when all have ended. The first exception
    // thrown by a task is rethrown here; tasks not begun by then are skipped.
    void parallel_for(std::size_t count, const std::function<void(std::size_t)>& task);

private:
    struct Job;

    void work();
    static void run_tasks(Job& job);

    int process_;  // that made the threads
    std::mutex mutex_;
    std::condition_variable wake_;
    std::deque<std::shared_ptr<Job>> jobs_;
    bool stopping_ = false;
    std::vector<std::thread> workers_;
};

}  // namespace nearfield
