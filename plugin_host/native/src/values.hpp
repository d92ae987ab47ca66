// What the parts of the plugin hand to each other. Samples are counted on the
// plugin's clock (since it was activated) unless a name says `host`.
#pragma once

#include <atomic>
#include <cstdint>
#include <vector>

namespace jukebox {

enum Parameter : uint32_t {
    kCapture,
    kContinue,
    kAccept,
    kRetry,
    kStop,
    kUndo,
    kBars,
    kQuality,
    kTemperature,
    kGuidance,
    kSeedLock,
    kMix,
    kFade,
    kWidth,
    kLead,
    kPrime,
    kWait,
    kNumInputs,
    kStatus = kNumInputs,
    kProgress,
    kLate,
    kNumParameters
};

// Those that a server takes.
inline bool rate_is_served(double rate) noexcept {
    return rate == 44100.0 || rate == 48000.0 || rate == 88200.0 || rate == 96000.0;
}

enum Wait : int { kWaitNever, kWaitOffline, kWaitAlways };

enum class Status : int {
    NoServer,
    Idle,
    Capturing,
    Waiting,
    Rendering,
    Ready,
    Failed,
};

// The host's transport at the first sample of a block.
struct Transport {
    bool playing = false;
    bool bars = false;  // the four below mean something
    double tempo_bpm = 120.0;
    double numerator = 4.0;
    double denominator = 4.0;
    double quarters_since_bar = 0.0;
    int64_t host_sample = 0;
};

inline double bar_samples(const Transport& transport, double sample_rate) noexcept {
    const double quarters = transport.numerator * 4.0 / transport.denominator;
    return quarters * sample_rate * 60.0 / transport.tempo_bpm;
}

struct MidiEvent {
    int64_t sample = 0;
    uint8_t data[3] = {0, 0, 0};
    uint8_t size = 0;
};

enum class Verb : int { Capture, EndCapture, Continue, Retry, Accept, Stop, Undo };

// What the audio thread asks of the worker.
struct Command {
    Verb verb = Verb::Stop;
    int64_t number = 0;
    int64_t splice_sample = 0;  // the model goes on from here: the lead before `begin_sample`
    int64_t begin_sample = 0;   // from here on the answer sounds alone
    int64_t end_sample = 0;
    int64_t prime_samples = 0;
    int64_t host_sample = 0;  // of begin_sample, where on_host
    int64_t now_sample = 0;
    int64_t host_offset = 0;  // host sample minus clock, when the transport ran; else 0
    bool on_host = false;
};

enum class Filling : int { Coming, Complete, Broken, Cancelled };

// An answer: audio from the splice on. The worker writes, the audio thread reads what was written.
struct Take {
    Take() = default;
    // An empty one with room for what was asked for.
    explicit Take(const Command& command)
        : number(command.number),
          splice_sample(command.splice_sample),
          begin_sample(command.begin_sample),
          end_sample(command.end_sample),
          host_sample(command.host_sample),
          on_host(command.on_host),
          left(static_cast<size_t>(length())),
          right(static_cast<size_t>(length())) {}

    int64_t number = 0;
    int64_t splice_sample = 0;
    int64_t begin_sample = 0;
    int64_t end_sample = 0;
    int64_t host_sample = 0;  // of begin_sample, where on_host
    bool on_host = false;
    bool at_bar = false;  // joins at a bar line only: it takes the place of another one
    std::atomic<bool> kept{false};
    std::atomic<Filling> filling{Filling::Coming};
    std::atomic<int64_t> written{0};
    std::vector<float> left, right;

    int64_t lead() const noexcept { return begin_sample - splice_sample; }
    int64_t length() const noexcept { return end_sample - splice_sample; }
};

}  // namespace jukebox
