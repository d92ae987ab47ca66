// What DPF asks of a plugin: names, ranges, texts. All else is Core's and Worker's.
#include <DistrhoPlugin.hpp>
#include <DistrhoPluginUtils.hpp>

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <mutex>
#include <string>

#include "core.hpp"
#include "worker.hpp"

namespace {

using namespace jukebox;

constexpr uint32_t kVersion = d_version(0, 1, 0);
// Saved by the host with every session and never set otherwise: its coming back means a restore.
constexpr char kStamp[] = "1";

struct ParameterRow {
    const char* symbol;
    const char* name;
    const char* unit;
    uint32_t hints;
    float least, greatest, initial;
    const char* does;
};

constexpr uint32_t kSwitch = kParameterIsAutomatable | kParameterIsBoolean;
constexpr uint32_t kNumber = kParameterIsAutomatable;
constexpr uint32_t kWhole = kParameterIsAutomatable | kParameterIsInteger;

constexpr ParameterRow kParameters[kNumParameters] = {
    {"capture", "Capture", "", kSwitch, 0, 1, 0, "While on, the server hears what is played, so that an answer starts at once"},
    {"continue", "Continue", "", kSwitch, 0, 1, 0, "Switched on: the music goes on from the next bar line"},
    {"accept", "Accept", "", kSwitch, 0, 1, 0, "Switched on: the answer becomes a part of the session"},
    {"retry", "Retry", "", kSwitch, 0, 1, 0, "Switched on: another answer, from the next bar line on"},
    {"stop", "Stop", "", kSwitch, 0, 1, 0, "Switched on: the answer fades away"},
    {"undo", "Undo", "", kSwitch, 0, 1, 0, "Switched on: the take that was accepted last leaves the session"},
    {"bars", "Bars", "", kWhole, 1, 64, 4, "How long an answer is"},
    {"quality", "Quality", "", kWhole, 0, 2, 0, "Fast, exact or teacher"},
    {"temperature", "Temperature", "", kNumber, 0.1f, 2.0f, 1.0f, "How daring"},
    {"guidance", "Guidance", "", kNumber, 0, 10, 1, "How strictly labels and notes are followed; 1: plain"},
    {"seed_lock", "Seed Lock", "", kSwitch, 0, 1, 0, "Answer with the same seed again"},
    {"mix", "Dry/Wet", "", kNumber, 0, 1, 1, "How much of the answer is heard"},
    {"fade", "Handover Fade", "ms", kWhole, 0, 500, 10, "Length of the crossfade"},
    {"width", "Width", "", kNumber, 0, 2, 1, "Stereo width of the answer"},
    {"lead", "Lead", "ms", kWhole, 0, 10000, 1000, "How long before the bar line the model stops listening"},
    {"prime", "Prime", "s", kWhole, 1, 55, 20, "How much of the recording is sent when Capture is off"},
    {"wait", "Wait", "", kWhole, 0, 2, 1, "Whether rendering waits for the answer"},
    {"status", "Status", "", kParameterIsOutput | kParameterIsInteger, 0, 6, 0, "What happens"},
    {"progress", "Progress", "", kParameterIsOutput, 0, 1, 0, "Of the answer that has come"},
    {"late", "Late Samples", "", kParameterIsOutput | kParameterIsInteger, 0, 1e9f, 0, "Samples that came too late"},
};

struct Choice {
    uint32_t parameter;
    std::initializer_list<const char*> labels;
};

const Choice kChoices[] = {
    {kQuality, {"Fast", "Exact", "Teacher"}},
    {kWait, {"Never", "Offline", "Always"}},
    {kStatus, {"No server", "Idle", "Capturing", "Waiting", "Rendering", "Ready", "Failed"}},
};

struct TextRow {
    const char* key;
    const char* label;
    std::string Texts::*text;
    bool writable;
};

// `takes` comes after `folder`, since it needs it.
const TextRow kTexts[] = {
    {"server", "Server address", &Texts::server, true},
    {"token", "Token", &Texts::token, true},
    {"model", "Model", &Texts::model, true},
    {"artist", "Artist", &Texts::artist, true},
    {"genre", "Genre", &Texts::genre, true},
    {"lyrics", "Lyrics", &Texts::lyrics, true},
    {"folder", "Project folder", &Texts::folder, true},
    {"seed", "Seed", &Texts::seed, true},
    {"takes", "Accepted takes", &Texts::takes, true},
    {"take", "Last take", &Texts::take, false},
    {"status", "Status", &Texts::status, false},
};
constexpr uint32_t kNumTexts = sizeof(kTexts) / sizeof(kTexts[0]);
constexpr size_t kMaxMidi = 512;

std::string default_server() {
    const char* given = std::getenv("JUKEBOX_BRIDGE_PLUGIN_SERVER");
    return given != nullptr && *given != 0 ? given : kDefaultServer;
}

}  // namespace

START_NAMESPACE_DISTRHO

class JukeboxBridgePlugin : public Plugin {
public:
    JukeboxBridgePlugin() : Plugin(kNumParameters, 0, kNumTexts + 1), core_(new Core(getSampleRate())) {
        texts_.server = default_server();
    }

    ~JukeboxBridgePlugin() override { worker_.reset(); }

protected:
    const char* getLabel() const override { return "jukebox_bridge"; }
    const char* getDescription() const override { return "Continues what is played, in time and in its own sound"; }
    const char* getMaker() const override { return "Jukebox Bridge"; }
    const char* getLicense() const override { return "GPL-3.0-or-later"; }
    uint32_t getVersion() const override { return kVersion; }
    int64_t getUniqueId() const override { return d_cconst('J', 'k', 'B', 'r'); }

    void initAudioPort(bool input, uint32_t index, AudioPort& port) override {
        port.groupId = kPortGroupStereo;
        Plugin::initAudioPort(input, index, port);
    }

    void initParameter(uint32_t index, Parameter& parameter) override {
        if (index >= kNumParameters) return;
        const ParameterRow& row = kParameters[index];
        parameter.hints = row.hints;
        parameter.name = row.name;
        parameter.symbol = row.symbol;
        parameter.unit = row.unit;
        parameter.description = row.does;
        parameter.ranges = ParameterRanges(row.initial, row.least, row.greatest);
        for (const Choice& choice : kChoices) {
            if (choice.parameter != index) continue;
            parameter.enumValues.count = static_cast<uint8_t>(choice.labels.size());
            parameter.enumValues.restrictedMode = true;
            parameter.enumValues.values = new ParameterEnumerationValue[choice.labels.size()];
            uint32_t i = 0;
            for (const char* label : choice.labels) {
                parameter.enumValues.values[i].value = static_cast<float>(i);
                parameter.enumValues.values[i].label = label;
                ++i;
            }
        }
    }

    void initState(uint32_t index, State& state) override {
        if (index == kNumTexts) {
            state.key = "stamp";
            state.label = "Stamp";
            state.hints = kStateIsOnlyForDSP;
            state.defaultValue = kStamp;
            return;
        }
        const TextRow& row = kTexts[index];
        state.key = row.key;
        state.label = row.label;
        state.hints = row.writable ? kStateIsHostWritable : kStateIsHostReadable;
        state.defaultValue = std::strcmp(row.key, "server") == 0 ? default_server().c_str() : "";
    }

    float getParameterValue(uint32_t index) const override {
        return index < kNumParameters ? core_->parameter(static_cast<jukebox::Parameter>(index)) : 0.0f;
    }

    void setParameterValue(uint32_t index, float value) override {
        if (index >= kNumInputs) return;
        const ParameterRow& row = kParameters[index];
        core_->set_parameter(index, std::fmin(row.greatest, std::fmax(row.least, value)));
    }

    String getState(const char* key) const override {
        if (std::strcmp(key, "stamp") == 0) return String(kStamp);
        const std::lock_guard<std::mutex> lock(mutex_);
        for (const TextRow& row : kTexts)
            if (std::strcmp(row.key, key) == 0) return String((texts_.*row.text).c_str());
        return String();
    }

    void setState(const char* key, const char* value) override {
        if (std::strcmp(key, "stamp") == 0) return core_->restored();
        for (const TextRow& row : kTexts) {
            if (std::strcmp(row.key, key) != 0 || !row.writable) continue;
            const std::lock_guard<std::mutex> lock(mutex_);
            if (texts_.*row.text == value) return;
            texts_.*row.text = value;
            ++texts_.version;
        }
        if (std::strcmp(key, "takes") == 0 || std::strcmp(key, "folder") == 0) wait_until_loaded();
    }

    void activate() override {
        core_->activate();
        if (worker_ == nullptr) start();
    }

    void run(const float** inputs, float** outputs, uint32_t frames, const DISTRHO_NAMESPACE::MidiEvent* events,
             uint32_t num_events) override {
        size_t num_midi = 0;
        for (uint32_t i = 0; i < num_events && num_midi < kMaxMidi; ++i) {
            if (events[i].size == 0 || events[i].size > 3) continue;
            jukebox::MidiEvent& event = midi_[num_midi++];
            event.sample = events[i].frame;
            event.size = static_cast<uint8_t>(events[i].size);
            for (uint32_t b = 0; b < 3; ++b) event.data[b] = b < events[i].size ? events[i].data[b] : 0;
        }
        core_->process(inputs, outputs, frames, midi_, num_midi, transport(frames));
    }

    void sampleRateChanged(double rate) override {
        if (rate == core_->sample_rate()) return;
        worker_.reset();
        auto core = std::make_unique<Core>(rate);
        for (uint32_t i = 0; i < kNumInputs; ++i)
            core->set_parameter(i, core_->parameter(static_cast<jukebox::Parameter>(i)));
        core_ = std::move(core);
    }

private:
    // Not before the host activates: many only look, or tell the sample rate after the making.
    void start() {
        if (isDummyInstance()) return;
        const char* format = getPluginFormatName();
        songs_clock_ = std::strcmp(format, "CLAP") == 0;
        const bool has_takes = !texts_.takes.empty();
        worker_ = std::make_unique<Worker>(*core_, texts_, mutex_, std::string("Jukebox Bridge 0.1.0 ") + format);
        if (has_takes) wait_until_loaded();
    }

    // Returns once the accepted takes are in memory, so that the first block already plays them.
    void wait_until_loaded() {
        for (int i = 0; i < 5000 && worker_ != nullptr; ++i) {
            {
                const std::lock_guard<std::mutex> lock(mutex_);
                if (texts_.loaded_version == texts_.version) return;
            }
            pause_ms(1);
        }
    }

    Transport transport(uint32_t frames) {
        const TimePosition& now = getTimePosition();
        Transport here;
        here.playing = now.playing;
        here.host_sample = static_cast<int64_t>(now.frame);
        here.bars = now.bbt.valid && now.bbt.beatsPerMinute > 0.0 && now.bbt.beatType > 0.0f &&
                    now.bbt.beatsPerBar > 0.0f && now.bbt.ticksPerBeat > 0.0;
        if (!here.bars) return here;
        here.tempo_bpm = now.bbt.beatsPerMinute;
        here.numerator = now.bbt.beatsPerBar;
        here.denominator = now.bbt.beatType;
        const double beats = now.bbt.beat - 1 + now.bbt.tick / now.bbt.ticksPerBeat;
        here.quarters_since_bar = beats * 4.0 / here.denominator;
        // DPF hands on CLAP's steady time, which a loop does not turn back: the song's is in its beats.
        if (songs_clock_) {
            const double quarters = (now.bbt.bar - 1) * here.numerator * 4.0 / here.denominator + here.quarters_since_bar;
            const int64_t song = std::llround(quarters * 60.0 / here.tempo_bpm * getSampleRate());
            here.host_sample = std::llabs(song - expected_song_) <= 2 && playing_ ? expected_song_ : song;
            expected_song_ = here.host_sample + frames;
        }
        playing_ = here.playing;
        return here;
    }

    Texts texts_;
    mutable std::mutex mutex_;
    std::unique_ptr<Core> core_;
    std::unique_ptr<Worker> worker_;
    jukebox::MidiEvent midi_[kMaxMidi];
    bool songs_clock_ = false;
    bool playing_ = false;
    int64_t expected_song_ = 0;

    DISTRHO_DECLARE_NON_COPYABLE_WITH_LEAK_DETECTOR(JukeboxBridgePlugin)
};

Plugin* createPlugin() { return new JukeboxBridgePlugin(); }

END_NAMESPACE_DISTRHO
