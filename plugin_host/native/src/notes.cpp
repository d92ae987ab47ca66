#include "notes.hpp"

#include <algorithm>
#include <array>

namespace jukebox {

namespace {

constexpr uint8_t kSustain = 64;
constexpr int kDrums = 9;

struct Held {
    Note note;
    bool released = false;  // the key is up, the pedal still down
};

class Keyboard {
public:
    Keyboard(int64_t start, int64_t end) : start_(start), end_(end) {}

    void hear(const MidiEvent& event) {
        const int channel = event.data[0] & 15;
        const int kind = event.data[0] & 0xf0;
        const int pitch = event.data[1] & 127;
        const int value = event.data[2] & 127;
        if (kind == 0x90 && value > 0) {
            close(channel, false, pitch, event.sample);
            held_[channel].push_back({{event.sample, 0, pitch, value, channel == kDrums}, false});
        } else if (kind == 0x80 || kind == 0x90) {
            release(channel, pitch, event.sample);
        } else if (kind == 0xb0 && event.data[1] == kSustain) {
            pedal_[channel] = value >= 64;
            if (!pedal_[channel]) close(channel, true, -1, event.sample);
        }
    }

    std::vector<Note> end() {
        for (int channel = 0; channel < 16; ++channel) close(channel, false, -1, end_);
        std::sort(notes_.begin(), notes_.end(),
                  [](const Note& a, const Note& b) { return a.start_sample < b.start_sample; });
        return std::move(notes_);
    }

private:
    void release(int channel, int pitch, int64_t sample) {
        if (!pedal_[channel]) return close(channel, false, pitch, sample);
        for (Held& one : held_[channel]) one.released = one.released || one.note.pitch == pitch;
    }

    // A pitch below 0 means all of them.
    void close(int channel, bool only_released, int pitch, int64_t sample) {
        auto& all = held_[channel];
        for (size_t i = 0; i < all.size();) {
            if ((pitch >= 0 && all[i].note.pitch != pitch) || (only_released && !all[i].released)) {
                ++i;
                continue;
            }
            Note note = all[i].note;
            note.start_sample = std::max(note.start_sample, start_);
            note.end_sample = std::min(sample, end_);
            if (note.end_sample > note.start_sample) notes_.push_back(note);
            all.erase(all.begin() + static_cast<std::ptrdiff_t>(i));
        }
    }

    const int64_t start_, end_;
    std::array<std::vector<Held>, 16> held_;
    std::array<bool, 16> pedal_{};
    std::vector<Note> notes_;
};

}  // namespace

std::vector<Note> notes_between(const std::deque<MidiEvent>& events, int64_t start, int64_t end) {
    Keyboard keyboard(start, end);
    for (const MidiEvent& event : events)
        if (event.sample < end && event.size == 3) keyboard.hear(event);
    return keyboard.end();
}

}  // namespace jukebox
