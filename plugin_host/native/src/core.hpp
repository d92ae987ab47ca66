// The audio thread's half of the plugin: it hears, decides where bars begin, and plays.
// Nothing in `process` allocates, locks or makes a system call, unless the host renders offline.
#pragma once

#include <array>
#include <atomic>
#include <chrono>

#include "player.hpp"
#include "ring.hpp"
#include "values.hpp"

namespace jukebox {

constexpr double kCaptureSeconds = 60.0;
constexpr double kSettleSeconds = 0.05;
constexpr double kWaitSeconds = 60.0;  // the most that an offline render waits for an answer

class Core {
public:
    explicit Core(double sample_rate);

    // Everything as at the start of a performance, but for parameters and takes.
    void activate() noexcept;
    // Buttons that come back with a saved session are not pressed by that.
    void restored() noexcept { restored_.store(true, std::memory_order_release); }
    void process(const float* const* in, float** out, int64_t frames, const MidiEvent* midi, size_t num_midi,
                 const Transport& transport) noexcept;

    double sample_rate() const noexcept { return sample_rate_; }
    float parameter(Parameter index) const noexcept { return parameters_[index].load(std::memory_order_relaxed); }
    void set_parameter(uint32_t index, float value) noexcept {
        if (index < kNumParameters) parameters_[index].store(value, std::memory_order_relaxed);
    }

    // For the worker.
    CaptureRing heard;
    Queue<Command, 64> commands;
    Queue<MidiEvent, 4096> midi;
    Takes to_player, from_player;
    std::atomic<int64_t> failed_number{0};  // no answer will come up to this number
    std::atomic<int64_t> sent_sample{0};    // how far the worker has read, while it captures
    std::atomic<bool> sending{false};
    std::atomic<bool> quitting{false};

private:
    void press_buttons(int64_t frames, const Transport& transport) noexcept;
    void ask(Verb verb, const Transport& transport) noexcept;
    void segment(const float* const* in, float** out, int64_t at, int64_t frames,
                 const Transport& transport) noexcept;
    void receive() noexcept;
    void wait_for(int64_t frames) noexcept;
    bool must_wait(int64_t frames) const noexcept;
    void watch_pace(int64_t frames) noexcept;
    bool waits() const noexcept;

    const double sample_rate_;
    const int64_t settle_samples_;
    std::array<std::atomic<float>, kNumParameters> parameters_{};
    std::array<bool, kBars> pressed_{};
    bool capturing_ = false;
    std::atomic<bool> restored_{true};
    bool first_ = true;
    int64_t settling_samples_ = 0;
    Player player_;
    int64_t clock_ = 0;
    int64_t number_ = 0;
    Command expected_{};  // the last answer that was asked for
    bool expecting_ = false;
    bool arrived_ = false;
    bool given_up_ = false;
    // How fast the host goes: samples and time since the last look.
    std::chrono::steady_clock::time_point looked_{};
    int64_t paced_samples_ = 0;
    bool offline_ = false;
};

}  // namespace jukebox
