// Lays takes over what comes in, each at its exact sample, with fades and without a click.
// Runs in the audio thread: no allocation, no lock, no system call.
#pragma once

#include <array>

#include "ring.hpp"
#include "values.hpp"

namespace jukebox {

using Takes = Queue<Take*, 32>;

class Player {
public:
    Player(Takes& incoming, Takes& outgoing, double sample_rate);

    // Takes over what the worker has handed in; a number below `least` was given up.
    void receive() noexcept;
    // Writes what sounds into left and right, which hold what came in.
    void render(float* left, float* right, int64_t frames, int64_t clock, const Transport& transport,
                double fade_seconds) noexcept;
    // Lets all that was not accepted fade away.
    void release() noexcept;
    // Whether the take of this number is here.
    const Take* find(int64_t number) const noexcept;
    bool sounds() const noexcept;
    int64_t late_samples() const noexcept { return late_samples_; }
    // How long a fade is where nobody has chosen one, such as when audio runs out.
    int64_t guard_samples() const noexcept { return guard_; }

private:
    struct Voice {
        Take* take = nullptr;
        double gain = 0.0;
        int64_t rise = 0;  // samples from silence to full
        bool leaving = false;
        int64_t from_sample = 0;  // audible from here on, unless it waits for a bar
        bool waits_for_bar = false;
    };

    void lay(Voice& voice, float* left, float* right, int64_t frames, int64_t clock,
             const Transport& transport, int64_t fade) noexcept;
    void retire(size_t index) noexcept;
    bool is_over(const Voice& voice, int64_t clock) const noexcept;

    static constexpr size_t kVoices = 16;
    Takes& incoming_;
    Takes& outgoing_;
    std::array<Voice, kVoices> voices_{};
    size_t num_voices_ = 0;
    const double sample_rate_;
    const int64_t guard_;
    int64_t late_samples_ = 0;
};

// The first bar line at or after a sample of the clock, unrounded; negative where there are no bars.
double bar_line(const Transport& transport, int64_t clock, int64_t earliest, double sample_rate) noexcept;
// The same, as a sample.
int64_t next_bar(const Transport& transport, int64_t clock, int64_t earliest, double sample_rate) noexcept;

}  // namespace jukebox
