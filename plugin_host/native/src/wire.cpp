#include "wire.hpp"

#include <pb_decode.h>
#include <pb_encode.h>

#include <algorithm>
#include <cstring>
#include <functional>

#include "bridge.pb.h"

// Shorter names for the numbers that nanopb generates.
#define FIELD(message, name) jukebox_bridge_v1_##message##_##name##_tag

namespace jukebox {

namespace {

// Appends fields to a message. A field that has its default is left out, as proto3 does.
class Writer {
public:
    Bytes bytes;

    void integer(uint32_t tag, int64_t value, bool always = false) {
        if (value == 0 && !always) return;
        write([&](pb_ostream_t* out) {
            return pb_encode_tag(out, PB_WT_VARINT, tag) && pb_encode_varint(out, static_cast<uint64_t>(value));
        });
    }
    void decimal(uint32_t tag, float value) {
        write([&](pb_ostream_t* out) { return pb_encode_tag(out, PB_WT_32BIT, tag) && pb_encode_fixed32(out, &value); });
    }
    void data(uint32_t tag, const void* from, size_t size, bool always = false) {
        if (size == 0 && !always) return;
        write([&](pb_ostream_t* out) {
            return pb_encode_tag(out, PB_WT_STRING, tag) &&
                   pb_encode_string(out, static_cast<const pb_byte_t*>(from), size);
        });
    }
    void text(uint32_t tag, const std::string& value) { data(tag, value.data(), value.size()); }
    void message(uint32_t tag, const Writer& inner) { data(tag, inner.bytes.data(), inner.bytes.size(), true); }

private:
    static bool append(pb_ostream_t* stream, const pb_byte_t* from, size_t count) {
        auto* to = static_cast<Bytes*>(stream->state);
        to->insert(to->end(), from, from + count);
        return true;
    }
    void write(const std::function<bool(pb_ostream_t*)>& encode) {
        pb_ostream_t stream{};
        stream.callback = &Writer::append;
        stream.state = &bytes;
        stream.max_size = SIZE_MAX;
        encode(&stream);
    }
};

Bytes framed(uint32_t tag, const Writer& part) {
    Writer request;
    request.message(tag, part);
    const size_t size = request.bytes.size();
    Bytes frame(4 + size);
    for (int i = 0; i < 4; ++i) frame[static_cast<size_t>(i)] = static_cast<uint8_t>(size >> (8 * i));
    std::copy(request.bytes.begin(), request.bytes.end(), frame.begin() + 4);
    return frame;
}

Bytes live_frame(uint32_t tag, const Writer& part) {
    Writer live;
    live.message(tag, part);
    return framed(FIELD(PluginRequest, live), live);
}

Writer plan_of(const Settings& settings) {
    Writer plan;
    plan.integer(FIELD(Plan, quality), settings.quality + jukebox_bridge_v1_Quality_QUALITY_FAST);
    if (settings.seed_locked) plan.integer(FIELD(Plan, seed), static_cast<int64_t>(settings.seed), true);
    plan.integer(FIELD(Plan, variation), settings.variation);
    plan.decimal(FIELD(Plan, temperature), settings.temperature);
    if (settings.guidance != 1.0f) plan.decimal(FIELD(Plan, guidance), settings.guidance);
    return plan;
}

Writer conditions_of(const Opening& opening) {
    Writer conditions;
    if (!opening.artist.empty() || !opening.genre.empty()) {
        Writer labels;
        labels.text(FIELD(Labels, artist), opening.artist);
        labels.text(FIELD(Labels, genre), opening.genre);
        conditions.message(FIELD(Conditions, labels), labels);
    }
    if (!opening.notes.empty()) {
        Writer midi;
        for (const Note& note : opening.notes) {
            Writer one;
            one.integer(FIELD(Note, start_sample), note.start_sample);
            one.integer(FIELD(Note, end_sample), note.end_sample);
            one.integer(FIELD(Note, pitch), note.pitch);
            one.integer(FIELD(Note, velocity), note.velocity);
            one.integer(FIELD(Note, is_drum), note.is_drum);
            midi.message(FIELD(MidiPart, notes), one);
        }
        midi.integer(FIELD(MidiPart, start_sample), opening.start_sample);
        midi.integer(FIELD(MidiPart, end_sample), opening.prime_end_sample);
        conditions.message(FIELD(Conditions, midi), midi);
    }
    conditions.text(FIELD(Conditions, lyrics), opening.lyrics);
    return conditions;
}

// One field of a message that is read.
struct Field {
    uint32_t tag = 0;
    uint64_t number = 0;
    const uint8_t* data = nullptr;
    size_t size = 0;

    std::string text() const { return {reinterpret_cast<const char*>(data), size}; }
    int64_t integer() const { return static_cast<int64_t>(number); }
};

// Calls `take` with each field; returns false where the bytes are no message, or `take` does.
bool each_field(const uint8_t* data, size_t size, const std::function<bool(const Field&)>& take) {
    pb_istream_t stream = pb_istream_from_buffer(data, size);
    while (stream.bytes_left > 0) {
        Field field;
        pb_wire_type_t type = PB_WT_VARINT;
        bool ended = false;
        if (!pb_decode_tag(&stream, &type, &field.tag, &ended)) return ended;
        if (type == PB_WT_VARINT) {
            if (!pb_decode_varint(&stream, &field.number)) return false;
        } else if (type == PB_WT_STRING) {
            uint32_t length = 0;
            if (!pb_decode_varint32(&stream, &length) || length > stream.bytes_left) return false;
            field.data = data + (size - stream.bytes_left);
            field.size = length;
            if (!pb_read(&stream, nullptr, length)) return false;
        } else if (!pb_skip_field(&stream, type)) {
            return false;
        } else {
            continue;
        }
        if (!take(field)) return false;
    }
    return true;
}

bool read_audio(const Field& from, Event& event) {
    event.kind = Event::Kind::Audio;
    return each_field(from.data, from.size, [&](const Field& field) {
        if (field.tag == FIELD(AudioBlock, start_sample)) event.start_sample = field.integer();
        if (field.tag == FIELD(AudioBlock, samples)) {
            if (field.size % (2 * sizeof(float)) != 0) return false;
            event.samples.resize(field.size / sizeof(float));
            std::memcpy(event.samples.data(), field.data, field.size);
        }
        return true;
    });
}

bool read_render(const Field& from, Event& event) {
    return each_field(from.data, from.size, [&](const Field& part) {
        if (part.tag == FIELD(RenderEvent, audio)) return read_audio(part, event);
        const bool accepted = part.tag == FIELD(RenderEvent, accepted);
        const bool done = part.tag == FIELD(RenderEvent, done);
        if (part.tag == FIELD(RenderEvent, queued)) event.kind = Event::Kind::Queued;
        if (!accepted && !done) return true;
        event.kind = accepted ? Event::Kind::Accepted : Event::Kind::Done;
        return each_field(part.data, part.size, [&](const Field& field) {
            if (accepted && field.tag == FIELD(Accepted, request_id)) event.request_id = field.text();
            if (accepted && field.tag == FIELD(Accepted, seed)) event.seed = field.number;
            if (accepted && field.tag == FIELD(Accepted, advice)) event.text = field.text();
            if (done && field.tag == FIELD(Done, take_id)) event.text = field.text();
            return true;
        });
    });
}

bool read_failure(const Field& from, Event& event, Event::Kind kind) {
    event.kind = kind;
    return each_field(from.data, from.size, [&](const Field& field) {
        if (field.tag == FIELD(LiveFailed, message)) event.text = field.text();
        if (field.tag == FIELD(LiveFailed, request_id)) event.request_id = field.text();
        return true;
    });
}

bool read_live(const Field& from, Event& event) {
    return each_field(from.data, from.size, [&](const Field& part) {
        switch (part.tag) {
            case FIELD(LiveEvent, opened):
                event.kind = Event::Kind::Opened;
                return true;
            case FIELD(LiveEvent, heard):
                event.kind = Event::Kind::Heard;
                return true;
            case FIELD(LiveEvent, render):
                return read_render(part, event);
            case FIELD(LiveEvent, stopped):
                event.kind = Event::Kind::Stopped;
                return true;
            case FIELD(LiveEvent, failed):
                return read_failure(part, event, Event::Kind::Failed);
            default:
                return true;
        }
    });
}

}  // namespace

Bytes hello_frame(const std::string& plugin, const std::string& token) {
    Writer hello;
    hello.integer(FIELD(PluginHello, protocol), kProtocol);
    hello.text(FIELD(PluginHello, plugin), plugin);
    hello.text(FIELD(PluginHello, token), token);
    return framed(FIELD(PluginRequest, hello), hello);
}

Bytes open_frame(const Opening& opening) {
    Writer format;
    format.integer(FIELD(AudioFormat, sample_rate), opening.sample_rate);
    format.integer(FIELD(AudioFormat, num_channels), 2);
    Writer header;
    header.message(FIELD(LiveHeader, format), format);
    header.text(FIELD(LiveHeader, model), opening.model);
    header.integer(FIELD(LiveHeader, start_sample), opening.start_sample);
    header.message(FIELD(LiveHeader, conditions), conditions_of(opening));
    header.message(FIELD(LiveHeader, plan), plan_of(opening.settings));
    header.integer(FIELD(LiveHeader, pacing), jukebox_bridge_v1_Pacing_PACING_FAST);
    // Room for every answer is made when it is asked for; TCP holds the server back.
    header.integer(FIELD(LiveHeader, credit_samples), int64_t{1} << 52);
    header.text(FIELD(LiveHeader, request_id), opening.request_id);
    return live_frame(FIELD(LiveRequest, header), header);
}

Bytes audio_frame(int64_t start_sample, const float* interleaved, int64_t frames) {
    Writer block;
    block.integer(FIELD(AudioBlock, role), jukebox_bridge_v1_Role_ROLE_PRIME);
    block.integer(FIELD(AudioBlock, start_sample), start_sample);
    block.data(FIELD(AudioBlock, samples), interleaved, static_cast<size_t>(2 * frames) * sizeof(float));
    return live_frame(FIELD(LiveRequest, audio), block);
}

Bytes continuation_frame(int64_t splice_sample, int64_t num_samples, const Settings& settings,
                         const std::string& request_id) {
    Writer target;
    target.integer(FIELD(Target, num_samples), num_samples);
    Writer asked;
    asked.integer(FIELD(LiveContinuation, splice_sample), splice_sample);
    asked.message(FIELD(LiveContinuation, target), target);
    asked.message(FIELD(LiveContinuation, plan), plan_of(settings));
    asked.text(FIELD(LiveContinuation, request_id), request_id);
    return live_frame(FIELD(LiveRequest, continuation), asked);
}

Bytes stop_frame() { return live_frame(FIELD(LiveRequest, stop), Writer{}); }

Bytes tag_frame(const std::string& take_id) {
    Writer tag;
    tag.text(FIELD(TagTakeRequest, take_id), take_id);
    tag.integer(FIELD(TagTakeRequest, mark), jukebox_bridge_v1_Mark_MARK_KEPT);
    return framed(FIELD(PluginRequest, tag), tag);
}

Bytes midi_frame(const std::vector<MidiEvent>& events) {
    Writer midi;
    for (const MidiEvent& event : events) {
        Writer message;
        message.integer(FIELD(MidiMessage, sample), event.sample);
        message.data(FIELD(MidiMessage, data), event.data, event.size);
        midi.message(FIELD(PluginMidi, messages), message);
    }
    return framed(FIELD(PluginRequest, midi), midi);
}

bool read_event(const uint8_t* data, size_t size, Event& event) {
    return each_field(data, size, [&](const Field& part) {
        switch (part.tag) {
            case FIELD(PluginEvent, welcome):
                event.kind = Event::Kind::Welcome;
                return each_field(part.data, part.size, [&](const Field& field) {
                    if (field.tag == FIELD(PluginWelcome, model)) event.text = field.text();
                    return true;
                });
            case FIELD(PluginEvent, live):
                return read_live(part, event);
            case FIELD(PluginEvent, failed):
                return read_failure(part, event, Event::Kind::Ended);
            case FIELD(PluginEvent, tagged):
                event.kind = Event::Kind::Tagged;
                return each_field(part.data, part.size, [&](const Field& field) {
                    if (field.tag == FIELD(Take, take_id)) event.text = field.text();
                    return true;
                });
            default:
                return true;
        }
    });
}

}  // namespace jukebox
