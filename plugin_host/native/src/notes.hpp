// MIDI as it came in, and the notes it means.
#pragma once

#include <deque>
#include <vector>

#include "wire.hpp"

namespace jukebox {

// The notes that sound between two samples, cut to them, by their begin. The sustain pedal holds
// them; what is still held at the end ends there.
std::vector<Note> notes_between(const std::deque<MidiEvent>& events, int64_t start, int64_t end);

}  // namespace jukebox
