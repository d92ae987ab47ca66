#include "worker.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <sstream>

#include "keeping.hpp"

namespace jukebox {

namespace {

using namespace std::chrono_literals;

constexpr int kFirstBackoffMs = 100;
constexpr int kLastBackoffMs = 5000;
constexpr auto kHelloPatience = 5s;
constexpr auto kServerPatience = 1500ms;  // how long a press of Continue waits for a connection
constexpr int64_t kBlock = 4096;
constexpr size_t kMaxUnsentBytes = 512 * 1024;
constexpr double kMaxAnswerSeconds = 180.0;
constexpr int64_t kRingMargin = 16384;
constexpr uint8_t kSustain = 64;

bool rate_is_served(double rate) { return rate == 44100.0 || rate == 48000.0 || rate == 88200.0 || rate == 96000.0; }

}  // namespace

Worker::Worker(Core& core, Texts& texts, std::mutex& mutex, std::string name)
    : core_(core), shared_(texts), mutex_(mutex), name_(std::move(name)), buffer_(2 * kBlock) {
    {
        const std::lock_guard<std::mutex> lock(mutex_);
        shared_.loaded_version = -1;
    }
    core_.quitting.store(false);
    thread_ = std::thread([this] { run(); });
}

Worker::~Worker() {
    core_.quitting.store(true);
    thread_.join();
}

void Worker::run() {
    while (!core_.quitting.load(std::memory_order_relaxed)) {
        read_texts();
        obey();
        collect_midi();
        connect_or_step();
        read_events();
        ask();
        send_recording();
        free_retired();
    }
    core_.sending.store(false);
}

void Worker::read_texts() {
    {
        const std::lock_guard<std::mutex> lock(mutex_);
        if (shared_.version == texts_.version && takes_version_ == shared_.version) return;
        texts_ = shared_;
    }
    if (texts_.server != address_) {
        address_ = texts_.server;
        if (socket_.state() != Socket::State::Closed) disconnect("the address has changed");
        backoff_ms_ = 0;
        next_try_ = {};
    }
    load_takes();
    takes_version_ = texts_.version;
    const std::lock_guard<std::mutex> lock(mutex_);
    shared_.loaded_version = texts_.version;
}

void Worker::load_takes() {
    if (texts_.takes == loaded_takes_) return;
    loaded_takes_ = texts_.takes;
    for (Owned& owned : takes_) {  // what the session held before
        if (owned.take->kept.load() && (!answer_ || owned.take.get() != answer_->take)) {
            owned.take->kept.store(false);
            owned.take->filling.store(Filling::Cancelled);
        }
    }
    std::istringstream lines(texts_.takes);
    std::string line, wrong;
    while (std::getline(lines, line)) {
        auto take = take_of_line(line, static_cast<int>(core_.sample_rate()), texts_.folder, wrong);
        if (!take || !core_.to_player.push(take.get())) continue;
        takes_.push_back({std::move(take), false});
    }
    if (!wrong.empty()) tell(Status::Failed, wrong);
}

void Worker::connect_or_step() {
    const bool busy = capturing_ || pending_ || (answer_ && answer_->coming);
    if (socket_.state() == Socket::State::Closed) {
        if (Clock::now() >= next_try_) {
            backoff_ms_ = std::clamp(2 * backoff_ms_, kFirstBackoffMs, kLastBackoffMs);
            next_try_ = Clock::now() + std::chrono::milliseconds(backoff_ms_);
            asked_at_ = Clock::now();
            const std::string wrong = socket_.open(address_);
            if (!wrong.empty()) tell(Status::NoServer, wrong);
            else socket_.send(hello_frame(name_, texts_.token));
        }
        if (socket_.state() == Socket::State::Closed) pause_ms(busy ? 2 : 10);
        return;
    }
    const bool was_open = socket_.state() == Socket::State::Open;
    if (!socket_.step(busy ? 2 : 10)) {
        // What came before the end still counts: it may say why.
        read_events();
        if (socket_.state() == Socket::State::Closed) return;
        disconnect(was_open ? "the server at " + address_ + " has ended the connection" : "no server at " + address_);
    } else if (!welcomed_ && Clock::now() - asked_at_ > kHelloPatience) {
        disconnect("the server at " + address_ + " does not answer");
    }
}

void Worker::disconnect(const std::string& why) {
    socket_.close();
    welcomed_ = false;
    session_open_ = false;
    core_.sending.store(false);
    next_try_ = Clock::now() + std::chrono::milliseconds(std::max(backoff_ms_, kFirstBackoffMs));
    tell(Status::NoServer, why);
    if (answer_ && answer_->coming) {
        finish(Filling::Broken);
        // When the server is back, the same answer is asked for again and joins at a bar line.
        pending_ = answer_->command;
        resuming_ = true;
        pending_until_ = Clock::time_point::max();
    }
}

void Worker::read_events() {
    auto& bytes = socket_.received();
    size_t at = 0;
    while (bytes.size() - at >= 4) {
        const uint32_t size = static_cast<uint32_t>(bytes[at]) | static_cast<uint32_t>(bytes[at + 1]) << 8 |
                              static_cast<uint32_t>(bytes[at + 2]) << 16 | static_cast<uint32_t>(bytes[at + 3]) << 24;
        if (size > kMaxFrameBytes) return disconnect("the server at " + address_ + " speaks another protocol");
        if (bytes.size() - at - 4 < size) break;
        Event event;
        if (!read_event(bytes.data() + at + 4, size, event))
            return disconnect("the server at " + address_ + " has sent what is no message");
        at += 4 + size;
        handle(event);
        if (socket_.state() == Socket::State::Closed) return;
    }
    bytes.erase(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(at));
}

void Worker::handle(Event& event) {
    const bool ours = answer_ && answer_->coming;
    switch (event.kind) {
        case Event::Kind::Welcome:
            welcomed_ = true;
            backoff_ms_ = 0;
            tell(Status::Idle, "connected to " + address_ + (event.text.empty() ? ", loading" : ", model " + event.text));
            if (capturing_ && !pending_) begin_capture();
            break;
        case Event::Kind::Accepted:
            if (!ours || event.request_id != answer_->request_id) break;
            answer_->settings.seed = event.seed;
            {
                const std::lock_guard<std::mutex> lock(mutex_);
                shared_.seed = texts_.seed = std::to_string(event.seed);
            }
            tell(Status::Rendering, event.text.empty() ? "rendering" : "rendering; " + event.text);
            break;
        case Event::Kind::Progress:
            if (event.total_steps > 0)
                core_.set_parameter(kProgress, static_cast<float>(event.step) / static_cast<float>(event.total_steps));
            break;
        case Event::Kind::Audio:
            if (ours) take_audio(event);
            break;
        case Event::Kind::Done:
            if (!ours) break;
            answer_->take_id = event.text;
            finish(answer_->take->written.load() == answer_->take->length() ? Filling::Complete : Filling::Broken);
            core_.set_parameter(kProgress, 1.0f);
            {
                const std::lock_guard<std::mutex> lock(mutex_);
                shared_.take = event.text;
            }
            tell(Status::Ready, "take " + event.text + " is here");
            if (answer_->accepted) keep();
            break;
        case Event::Kind::Failed:
            if (ours && event.request_id == answer_->request_id) {
                finish(answer_->take->written.load() > 0 ? Filling::Broken : Filling::Cancelled);
                fail(event.text);
            } else {
                tell(Status::Failed, event.text);
            }
            break;
        case Event::Kind::Ended:
            session_open_ = false;
            core_.sending.store(false);
            if (ours) finish(answer_->take->written.load() > 0 ? Filling::Broken : Filling::Cancelled);
            fail(event.text);
            break;
        default:
            break;
    }
}

void Worker::take_audio(const Event& event) {
    Take& take = *answer_->take;
    const int64_t written = take.written.load(std::memory_order_relaxed);
    const auto frames = static_cast<int64_t>(event.samples.size() / 2);
    const int64_t index = event.start_sample - base_ - take.splice_sample;
    if (index != written || index + frames > take.length())
        return disconnect("the server at " + address_ + " has sent audio for another place");
    for (int64_t i = 0; i < frames; ++i) {
        take.left[static_cast<size_t>(index + i)] = event.samples[static_cast<size_t>(2 * i)];
        take.right[static_cast<size_t>(index + i)] = event.samples[static_cast<size_t>(2 * i + 1)];
    }
    take.written.store(index + frames, std::memory_order_release);
}

void Worker::finish(Filling filling) {
    answer_->take->filling.store(filling, std::memory_order_release);
    answer_->coming = false;
}

void Worker::fail(const std::string& why) {
    core_.failed_number.store(answer_ ? answer_->command.number : 0, std::memory_order_release);
    tell(Status::Failed, why);
}

void Worker::obey() {
    Command command;
    while (core_.commands.pop(command)) obey(command);
}

void Worker::obey(const Command& command) {
    switch (command.verb) {
        case Verb::Capture:
            capturing_ = true;
            base_ = command.host_offset;
            if (welcomed_) begin_capture();
            break;
        case Verb::EndCapture:
            capturing_ = false;
            core_.sending.store(false);
            break;
        case Verb::Continue:
        case Verb::Retry:
            if (command.verb == Verb::Retry && !answer_) {
                tell(Status::Failed, "there is no answer to try again");
                break;
            }
            pending_ = command;
            resuming_ = false;
            pending_until_ = Clock::now() + kServerPatience;
            if (socket_.state() == Socket::State::Closed) next_try_ = {};
            break;
        case Verb::Accept:
            if (!answer_) {
                tell(Status::Failed, "there is no take to accept");
                break;
            }
            answer_->accepted = true;
            if (!answer_->coming) keep();
            break;
        case Verb::Stop:
            pending_.reset();
            if (answer_ && answer_->coming) {
                if (welcomed_) socket_.send(stop_frame());
                finish(Filling::Broken);
            }
            core_.failed_number.store(command.number, std::memory_order_release);
            tell(welcomed_ ? Status::Idle : Status::NoServer, "stopped");
            break;
    }
}

void Worker::ask() {
    if (!pending_) return;
    if (welcomed_) {
        const Command command = *pending_;
        pending_.reset();
        ask(command);
        resuming_ = false;
    } else if (Clock::now() > pending_until_) {
        core_.failed_number.store(pending_->number, std::memory_order_release);
        pending_.reset();
        tell(Status::NoServer, "no server at " + address_ + ": nothing was asked for");
    }
}

Settings Worker::settings() const {
    Settings made;
    made.quality = std::clamp(static_cast<int>(core_.parameter(kQuality)), 0, 2);
    // Hosts count in steps of a thousandth or so; more digits are no intention.
    made.temperature = std::round(core_.parameter(kTemperature) * 100.0f) / 100.0f;
    made.guidance = std::round(core_.parameter(kGuidance) * 100.0f) / 100.0f;
    made.seed_locked = core_.parameter(kSeedLock) > 0.5f && !texts_.seed.empty();
    if (made.seed_locked) made.seed = std::strtoull(texts_.seed.c_str(), nullptr, 10);
    return made;
}

void Worker::ask(const Command& asked) {
    const bool again = asked.verb == Verb::Retry || resuming_;
    Answer next;
    next.command = asked;
    next.settings = settings();
    if (again && answer_) {
        next.command = answer_->command;
        next.command.number = asked.number;
        next.settings = answer_->settings;
        next.settings.seed_locked = true;
        if (!resuming_) ++next.settings.variation;
    }
    const Command& command = next.command;
    if (answer_ && answer_->coming) {
        socket_.send(stop_frame());
        finish(answer_->take->written.load() > 0 ? Filling::Broken : Filling::Cancelled);
    }
    const auto refuse = [&](const std::string& why) {
        core_.failed_number.store(asked.number, std::memory_order_release);
        tell(Status::Failed, why);
    };
    const double rate = core_.sample_rate();
    if (!rate_is_served(rate))
        return refuse("the session runs at " + std::to_string(std::lround(rate)) +
                      " Hz; 44100, 48000, 88200 and 96000 Hz are served");
    const int64_t length = command.end_sample - command.splice_sample;
    if (length > static_cast<int64_t>(kMaxAnswerSeconds * rate))
        return refuse(std::to_string(std::lround(static_cast<double>(length) / rate)) +
                      " s are asked for, the limit is 180 s");
    const int64_t oldest = std::max<int64_t>(0, core_.heard.end() - core_.heard.capacity() + kRingMargin);
    const int64_t start = std::max(command.splice_sample - command.prime_samples, oldest);
    std::vector<Note> notes = notes_between(start, command.splice_sample);
    const bool listening = session_open_ && (capturing_ || again) && session_start_ < command.splice_sample;
    if (!listening || !notes.empty()) {
        if (start >= command.splice_sample) return refuse("nothing was recorded before the splice");
        base_ = command.host_offset;
        open_session(start, command.splice_sample, std::move(notes));
    }
    auto take = std::make_unique<Take>();
    take->number = command.number;
    take->splice_sample = command.splice_sample;
    take->begin_sample = command.begin_sample;
    take->end_sample = command.end_sample;
    take->host_sample = command.host_sample;
    take->on_host = command.on_host;
    take->at_bar = again;
    take->left.resize(static_cast<size_t>(length));
    take->right.resize(static_cast<size_t>(length));
    next.take = take.get();
    next.coming = true;
    next.request_id = "plugin-" + std::to_string(++requests_);
    if (!core_.to_player.push(take.get())) return refuse("too many takes wait to be played");
    takes_.push_back({std::move(take), false});
    socket_.send(continuation_frame(command.splice_sample + base_, length, next.settings, next.request_id));
    core_.set_parameter(kProgress, 0.0f);
    tell(Status::Waiting, "asked for " + std::to_string(length) + " samples");
    answer_ = std::move(next);
}

void Worker::open_session(int64_t start, int64_t splice, std::vector<Note> notes) {
    if (!rate_is_served(core_.sample_rate())) return tell(Status::Failed, "this sample rate is not served");
    Opening opening;
    opening.sample_rate = static_cast<int>(core_.sample_rate());
    opening.start_sample = start + base_;
    opening.prime_end_sample = splice + base_;
    opening.model = texts_.model;
    opening.artist = texts_.artist;
    opening.genre = texts_.genre;
    opening.lyrics = texts_.lyrics;
    opening.settings = settings();
    opening.notes = std::move(notes);
    for (Note& note : opening.notes) {
        note.start_sample += base_;
        note.end_sample += base_;
    }
    socket_.send(open_frame(opening));
    session_open_ = true;
    session_start_ = cursor_ = start;
    core_.sent_sample.store(cursor_, std::memory_order_release);
    core_.sending.store(true, std::memory_order_release);
}

void Worker::begin_capture() {
    const int64_t now = core_.heard.end();
    open_session(now, now, {});
    if (session_open_) tell(Status::Capturing, "the server hears what is played");
}

void Worker::send_recording() {
    if (!session_open_ || !welcomed_) return;
    const bool wanted = answer_ && answer_->coming && cursor_ < answer_->command.splice_sample;
    int64_t end = core_.heard.end();
    if (!capturing_) end = wanted ? std::min(end, answer_->command.splice_sample) : cursor_;
    while (cursor_ < end && socket_.unsent_bytes() < kMaxUnsentBytes) {
        const int64_t frames = std::min(kBlock, end - cursor_);
        if (!core_.heard.read(cursor_, frames, buffer_.data())) {
            session_open_ = false;
            core_.sending.store(false);
            if (answer_ && answer_->coming) finish(Filling::Broken);
            return fail("the recording was overtaken before it was sent");
        }
        socket_.send(audio_frame(cursor_ + base_, buffer_.data(), frames));
        cursor_ += frames;
        core_.sent_sample.store(cursor_, std::memory_order_release);
    }
    if (!capturing_ && !(answer_ && answer_->coming && cursor_ < answer_->command.splice_sample))
        core_.sending.store(false, std::memory_order_release);
}

void Worker::collect_midi() {
    MidiEvent event;
    while (core_.midi.pop(event)) {
        midi_.push_back(event);
        unsent_midi_.push_back(event);
    }
    const int64_t oldest = core_.heard.end() - core_.heard.capacity();
    while (!midi_.empty() && midi_.front().sample < oldest) midi_.pop_front();
    if (!welcomed_) unsent_midi_.clear();
    if (unsent_midi_.empty()) return;
    socket_.send(midi_frame(unsent_midi_));
    unsent_midi_.clear();
}

std::vector<Note> Worker::notes_between(int64_t start, int64_t end) const {
    struct Held {
        Note note;
        bool released = false;
    };
    std::vector<Note> notes;
    std::vector<Held> held[16];
    bool pedal[16] = {};
    const auto close = [&](int channel, bool only_released, int pitch, int64_t sample) {
        auto& all = held[channel];
        for (size_t i = 0; i < all.size();) {
            if ((pitch >= 0 && all[i].note.pitch != pitch) || (only_released && !all[i].released)) {
                ++i;
                continue;
            }
            Note note = all[i].note;
            note.start_sample = std::max(note.start_sample, start);
            note.end_sample = std::min(sample, end);
            if (note.end_sample > note.start_sample) notes.push_back(note);
            all.erase(all.begin() + static_cast<std::ptrdiff_t>(i));
        }
    };
    for (const MidiEvent& event : midi_) {
        if (event.sample >= end || event.size < 3) continue;
        const int channel = event.data[0] & 15;
        const int kind = event.data[0] & 0xf0;
        const int pitch = event.data[1] & 127;
        const int velocity = event.data[2] & 127;
        if (kind == 0x90 && velocity > 0) {
            close(channel, false, pitch, event.sample);
            held[channel].push_back({{event.sample, 0, pitch, velocity, channel == 9}, false});
        } else if (kind == 0x80 || kind == 0x90) {
            if (!pedal[channel]) close(channel, false, pitch, event.sample);
            else
                for (Held& one : held[channel]) one.released = one.released || one.note.pitch == pitch;
        } else if (kind == 0xb0 && event.data[1] == kSustain) {
            pedal[channel] = velocity >= 64;
            if (!pedal[channel]) close(channel, true, -1, event.sample);
        }
    }
    for (int channel = 0; channel < 16; ++channel) close(channel, false, -1, end);
    std::sort(notes.begin(), notes.end(),
              [](const Note& a, const Note& b) { return a.start_sample < b.start_sample; });
    return notes;
}

void Worker::keep() {
    Answer& answer = *answer_;
    answer.accepted = false;
    if (answer.take->filling.load() != Filling::Complete) return tell(Status::Failed, "the take is not whole");
    if (welcomed_) socket_.send(tag_frame(answer.take_id));
    if (!answer.take->on_host)
        return tell(Status::Ready, "take " + answer.take_id + " is kept on the server; the transport stood still, "
                                   "so it has no place in the session");
    std::string wrong;
    const std::string line =
        kept_line(*answer.take, answer.take_id, static_cast<int>(core_.sample_rate()), texts_.folder, wrong);
    if (line.empty()) return tell(Status::Failed, wrong);
    answer.take->kept.store(true);
    for (Owned& owned : takes_)
        if (owned.take.get() == answer.take && owned.retired) owned.retired = !core_.to_player.push(answer.take);
    {
        const std::lock_guard<std::mutex> lock(mutex_);
        shared_.takes += line + "\n";
        loaded_takes_ = texts_.takes = shared_.takes;
    }
    tell(Status::Ready, "take " + answer.take_id + " belongs to the session");
}

void Worker::free_retired() {
    Take* take = nullptr;
    while (core_.from_player.pop(take))
        for (Owned& owned : takes_)
            if (owned.take.get() == take) owned.retired = true;
    takes_.erase(std::remove_if(takes_.begin(), takes_.end(),
                                [&](const Owned& owned) {
                                    return owned.retired && !(answer_ && owned.take.get() == answer_->take);
                                }),
                 takes_.end());
}

void Worker::tell(Status status, const std::string& text) {
    core_.set_parameter(kStatus, static_cast<float>(status));
    const std::lock_guard<std::mutex> lock(mutex_);
    shared_.status = text;
}

}  // namespace jukebox
