// Queues and memory that one thread writes and another one reads, without a lock.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>

namespace jukebox {

// A queue of at most Size - 1 values: one thread pushes, one pops; neither waits.
template <typename T, size_t Size>
class Queue {
    static_assert((Size & (Size - 1)) == 0, "a power of two");

public:
    bool push(const T& value) noexcept {
        const size_t end = end_.load(std::memory_order_relaxed);
        if (end - begin_.load(std::memory_order_acquire) == Size) return false;
        values_[end % Size] = value;
        end_.store(end + 1, std::memory_order_release);
        return true;
    }

    bool pop(T& value) noexcept {
        const size_t begin = begin_.load(std::memory_order_relaxed);
        if (begin == end_.load(std::memory_order_acquire)) return false;
        value = values_[begin % Size];
        begin_.store(begin + 1, std::memory_order_release);
        return true;
    }

private:
    std::array<T, Size> values_{};
    alignas(64) std::atomic<size_t> begin_{0};
    alignas(64) std::atomic<size_t> end_{0};
};

// The last stretch of stereo audio, by the sample of the plugin's clock. The
// audio thread writes; a reader copies first and then asks whether what it
// copied was still there.
class CaptureRing {
public:
    // Only the first pages are fetched here: a host that loads a plugin should not wait for 23 MB of
    // them. Another thread is to call `fetch_more` until it is false.
    explicit CaptureRing(int64_t capacity)
        : capacity_(capacity), samples_(zeros(static_cast<size_t>(2 * capacity))) {
        fetch_more();
    }

    // Touches the next pages, so that none is fetched for the first time in the audio thread; false at
    // the end. What is written there meanwhile stays.
    bool fetch_more() noexcept {
        const int64_t end = std::min(fetched_ + kFetchedAtOnce, 2 * capacity_);
        for (; fetched_ < end; fetched_ += kPage) {
            float silence = 0.0f;
            samples_[fetched_].compare_exchange_strong(silence, 0.0f, std::memory_order_relaxed);
        }
        return end < 2 * capacity_;
    }

    int64_t capacity() const noexcept { return capacity_; }
    int64_t end() const noexcept { return end_.load(std::memory_order_acquire); }

    void write(const float* left, const float* right, int64_t frames) noexcept {
        int64_t at = end_.load(std::memory_order_relaxed);
        // Told before it is written: a reader that copies meanwhile sees that it was overtaken.
        writing_.store(at + frames, std::memory_order_release);
        std::atomic_thread_fence(std::memory_order_seq_cst);
        int64_t slot = at % capacity_;
        for (int64_t i = 0; i < frames; ++i) {
            samples_[2 * slot].store(left[i], std::memory_order_relaxed);
            samples_[2 * slot + 1].store(right[i], std::memory_order_relaxed);
            if (++slot == capacity_) slot = 0;
        }
        end_.store(at + frames, std::memory_order_release);
    }

    // Copies interleaved samples [from, from + frames); false if they are no longer, or not yet, there.
    bool read(int64_t from, int64_t frames, float* out) const noexcept {
        if (from < 0 || from + frames > end()) return false;
        int64_t slot = from % capacity_;
        for (int64_t i = 0; i < frames; ++i) {
            out[2 * i] = samples_[2 * slot].load(std::memory_order_relaxed);
            out[2 * i + 1] = samples_[2 * slot + 1].load(std::memory_order_relaxed);
            if (++slot == capacity_) slot = 0;
        }
        std::atomic_thread_fence(std::memory_order_seq_cst);
        return writing_.load(std::memory_order_acquire) - from <= capacity_;
    }

private:
    using Sample = std::atomic<float>;
    struct Free {
        void operator()(Sample* samples) const noexcept { std::free(samples); }
    };
    using Samples = std::unique_ptr<Sample[], Free>;

    static constexpr int64_t kPage = 4096 / sizeof(Sample);
    static constexpr int64_t kFetchedAtOnce = 256 * kPage;

    // Memory that is zero without having been written: its pages come when they are touched.
    static Samples zeros(size_t count) {
        void* memory = std::calloc(count, sizeof(Sample));
        if (memory == nullptr) throw std::bad_alloc();
        return Samples(new (memory) Sample[count]);
    }

    const int64_t capacity_;
    Samples samples_;
    int64_t fetched_ = 0;
    alignas(64) std::atomic<int64_t> end_{0};
    std::atomic<int64_t> writing_{0};
};

}  // namespace jukebox
