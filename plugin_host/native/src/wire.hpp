// Messages of bridge.proto as bytes and back, over nanopb's streams. The numbers
// of the fields come from the header that nanopb generates from bridge.proto.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "values.hpp"

namespace jukebox {

constexpr uint32_t kMaxFrameBytes = 2u << 20;
constexpr uint32_t kProtocol = 1;

using Bytes = std::vector<uint8_t>;

struct Settings {
    int quality = 0;
    float temperature = 1.0f;
    float guidance = 1.0f;
    bool seed_locked = false;
    uint64_t seed = 0;
    uint32_t variation = 0;
};

struct Note {
    int64_t start_sample = 0, end_sample = 0;
    int pitch = 0, velocity = 0;
    bool is_drum = false;
};

struct Opening {
    int sample_rate = 0;
    int64_t start_sample = 0;  // session samples from here on
    int64_t prime_end_sample = 0;
    std::string model, artist, genre, lyrics, request_id;
    std::vector<Note> notes;
    Settings settings;
};

// Frames, ready to be sent.
Bytes hello_frame(const std::string& plugin, const std::string& token);
Bytes open_frame(const Opening& opening);
Bytes audio_frame(int64_t start_sample, const float* interleaved, int64_t frames);
Bytes continuation_frame(int64_t splice_sample, int64_t num_samples, const Settings& settings,
                         const std::string& request_id);
Bytes stop_frame();
Bytes tag_frame(const std::string& take_id);
Bytes midi_frame(const std::vector<MidiEvent>& events);

// What the server told, as far as the plugin wants to know.
struct Event {
    enum class Kind { None, Welcome, Opened, Heard, Accepted, Queued, Audio, Done, Stopped, Failed, Ended, Tagged };
    Kind kind = Kind::None;
    std::string text;  // model, take id, or what failed in words
    std::string request_id;
    uint64_t seed = 0;
    int64_t start_sample = 0;
    std::vector<float> samples;  // interleaved
};

// Returns false where the bytes are no message.
bool read_event(const uint8_t* data, size_t size, Event& event);

}  // namespace jukebox
