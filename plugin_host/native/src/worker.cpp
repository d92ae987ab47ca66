#include "worker.hpp"

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "notes.hpp"

namespace jukebox {

namespace {

using namespace std::chrono_literals;

constexpr auto kServerPatience = 1500ms;  // how long a press of Continue waits for a connection
constexpr int64_t kBlock = 4096;
constexpr size_t kMaxUnsentBytes = 512 * 1024;
constexpr double kMaxAnswerSeconds = 180.0;
constexpr int64_t kRingMargin = 16384;

}  // namespace

Worker::Worker(Core& core, Texts& texts, std::mutex& mutex, std::string name)
    : core_(core), shared_(texts), mutex_(mutex), link_(std::move(name)), shelf_(core), buffer_(2 * kBlock) {
    {
        const std::lock_guard<std::mutex> lock(mutex_);
        shared_.loaded_version = -1;
    }
    core_.quitting.store(false);
    thread_ = std::thread([this] { run(); });
}

Worker::~Worker() {
    core_.quitting.store(true);
    alarm_.ring();
    thread_.join();
}

void Worker::run() {
    while (!core_.quitting.load(std::memory_order_relaxed) && core_.heard.fetch_more()) {
    }
    while (!core_.quitting.load(std::memory_order_relaxed)) {
        read_texts();
        obey();
        collect_midi();
        talk();
        ask();
        send_recording();
        shelf_.free_retired(answer_ ? answer_->take : nullptr);
    }
    core_.sending.store(false);
}

void Worker::read_texts() {
    {
        const std::lock_guard<std::mutex> lock(mutex_);
        if (shared_.version == texts_.version && takes_version_ == shared_.version) return;
        texts_ = shared_;
    }
    if (link_.aim(texts_.server)) disconnect("the address has changed");
    const std::string wrong = shelf_.load(texts_.takes, texts_.folder);
    if (!wrong.empty()) tell(Status::Failed, wrong);
    takes_version_ = texts_.version;
    const std::lock_guard<std::mutex> lock(mutex_);
    shared_.loaded_version = texts_.version;
}

void Worker::talk() {
    const bool busy = capturing_ || pending_ || (answer_ && answer_->coming);
    const std::string wrong = link_.step(texts_.token, alarm_, busy ? 2 : 10);
    if (link_.is_closed()) {
        if (!wrong.empty()) tell(Status::NoServer, wrong);
        return;
    }
    // What came before the end still counts: it may say why.
    read_events();
    if (!wrong.empty() && !link_.is_closed()) disconnect(wrong);
}

void Worker::disconnect(const std::string& why) {
    link_.close();
    session_open_ = false;
    core_.sending.store(false);
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
    Event event;
    std::string wrong;
    while (!link_.is_closed() && link_.next(event, wrong)) handle(event);
    if (!wrong.empty()) disconnect(wrong);
}

void Worker::handle(Event& event) {
    const bool ours = answer_ && answer_->coming;
    switch (event.kind) {
        case Event::Kind::Welcome:
            tell(Status::Idle, "connected to " + link_.address() + (event.text.empty() ? ", loading" : ", model " + event.text));
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
        case Event::Kind::Audio:
            if (ours) take_audio(event);
            break;
        case Event::Kind::Done:
            if (!ours) break;
            answer_->take_id = event.text;
            finish(answer_->take->written.load() == answer_->take->length() ? Filling::Complete : Filling::Broken);
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
        return disconnect("the server at " + link_.address() + " has sent audio for another place");
    // What is no number would silence a host's mixer for good.
    const auto sound = [&](int64_t place) {
        const float sample = event.samples[static_cast<size_t>(place)];
        return std::isfinite(sample) ? sample : 0.0f;
    };
    for (int64_t i = 0; i < frames; ++i) {
        take.left[static_cast<size_t>(index + i)] = sound(2 * i);
        take.right[static_cast<size_t>(index + i)] = sound(2 * i + 1);
    }
    take.written.store(index + frames, std::memory_order_release);
    core_.set_parameter(kProgress, static_cast<float>(index + frames) / static_cast<float>(take.length()));
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
            if (link_.welcomed()) begin_capture();
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
            link_.hurry();
            break;
        case Verb::Accept:
            if (!answer_) {
                tell(Status::Failed, "there is no take to accept");
                break;
            }
            answer_->accepted = true;
            if (!answer_->coming) keep();
            break;
        case Verb::Undo:
            take_back();
            break;
        case Verb::Stop:
            pending_.reset();
            if (answer_ && answer_->coming) {
                if (link_.welcomed()) link_.send(stop_frame());
                finish(Filling::Broken);
            }
            core_.failed_number.store(command.number, std::memory_order_release);
            tell(link_.welcomed() ? Status::Idle : Status::NoServer, "stopped");
            break;
    }
}

void Worker::ask() {
    if (!pending_) return;
    if (link_.welcomed()) {
        const Command command = *pending_;
        pending_.reset();
        ask(command);
        resuming_ = false;
    } else if (Clock::now() > pending_until_) {
        core_.failed_number.store(pending_->number, std::memory_order_release);
        pending_.reset();
        tell(Status::NoServer, "no server at " + link_.address() + ": nothing was asked for");
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
        link_.send(stop_frame());
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
    std::vector<Note> notes = notes_between(midi_, start, command.splice_sample);
    const bool listening = session_open_ && (capturing_ || again) && session_start_ < command.splice_sample;
    if (!listening || !notes.empty()) {
        if (start >= command.splice_sample) return refuse("nothing was recorded before the splice");
        base_ = command.host_offset;
        open_session(start, command.splice_sample, std::move(notes));
    }
    auto take = std::make_unique<Take>(command);
    take->at_bar = again;
    next.take = take.get();
    next.coming = true;
    next.request_id = "plugin-" + std::to_string(++requests_);
    if (!shelf_.play(std::move(take))) return refuse("too many takes wait to be played");
    link_.send(continuation_frame(command.splice_sample + base_, length, next.settings, next.request_id));
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
    link_.send(open_frame(opening));
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
    if (!session_open_ || !link_.welcomed()) return;
    const bool wanted = answer_ && answer_->coming && cursor_ < answer_->command.splice_sample;
    int64_t end = core_.heard.end();
    if (!capturing_) end = wanted ? std::min(end, answer_->command.splice_sample) : cursor_;
    while (cursor_ < end && link_.unsent_bytes() < kMaxUnsentBytes) {
        const int64_t frames = std::min(kBlock, end - cursor_);
        if (!core_.heard.read(cursor_, frames, buffer_.data())) {
            session_open_ = false;
            core_.sending.store(false);
            if (answer_ && answer_->coming) finish(Filling::Broken);
            return fail("the recording was overtaken before it was sent");
        }
        link_.send(audio_frame(cursor_ + base_, buffer_.data(), frames));
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
    if (!link_.welcomed()) unsent_midi_.clear();
    if (unsent_midi_.empty()) return;
    link_.send(midi_frame(unsent_midi_));
    unsent_midi_.clear();
}

void Worker::keep() {
    Answer& answer = *answer_;
    answer.accepted = false;
    if (answer.take->filling.load() != Filling::Complete)
        return tell(Status::Failed, "the take is not whole, or was taken back");
    std::string wrong;
    if (answer.take->on_host) {
        wrong = shelf_.keep(*answer.take, answer.take_id, texts_.folder);
        share_takes();
    }
    if (link_.welcomed()) link_.send(tag_frame(answer.take_id));
    if (!wrong.empty()) return tell(Status::Failed, wrong);
    if (!answer.take->on_host)
        return tell(Status::Ready, "take " + answer.take_id + " is kept on the server; the transport stood still, "
                                   "so it has no place in the session");
    tell(Status::Ready, "take " + answer.take_id + " belongs to the session");
}

void Worker::take_back() {
    const std::string id = shelf_.take_back();
    if (id.empty()) return tell(Status::Failed, "no take belongs to the session");
    share_takes();
    tell(link_.welcomed() ? Status::Idle : Status::NoServer, "take " + id + " has left the session");
}

void Worker::share_takes() {
    const std::lock_guard<std::mutex> lock(mutex_);
    // A session that was restored meanwhile wins: it is read at the next turn.
    if (shared_.version == texts_.version) shared_.takes = texts_.takes = shelf_.text();
}

void Worker::tell(Status status, const std::string& text) {
    core_.set_parameter(kStatus, static_cast<float>(status));
    const std::lock_guard<std::mutex> lock(mutex_);
    shared_.status = text;
}

}  // namespace jukebox
