#pragma once

#include <atomic>
#include <stdexcept>

namespace nearfield {

// Set by one thread, polled by the thread doing the work.
class CancelFlag {
public:
    void set() { flag_.store(true, std::memory_order_relaxed); }
    bool is_set() const { return flag_.load(std::memory_order_relaxed); }

private:
    std::atomic<bool> flag_{false};
};

class Cancelled : public std::runtime_error {
public:
    Cancelled() : std::runtime_error("the search was cancelled before it finished") {}
};

}  // namespace nearfield
