// An effect that delays by 100 samples and multiplies by a gain, or a synth of sines; both crash or
// hang when they are told to.
#include "DistrhoPlugin.hpp"

#include <cmath>
#include <cstring>
#include <unistd.h>
#include <vector>

START_NAMESPACE_DISTRHO

enum Parameters { kGain, kFault, kParameters };
enum Faults { kNoFault, kCrash, kHang };

class Faulty : public Plugin {
public:
    Faulty() : Plugin(kParameters, 0, 1) {
        setLatency(kDelay);
        activate();
    }

protected:
    const char* getLabel() const override { return "faulty"; }
    const char* getMaker() const override { return "jukebox-bridge"; }
    const char* getLicense() const override { return "GPL-3.0-or-later"; }
    uint32_t getVersion() const override { return d_version(1, 0, 0); }
    int64_t getUniqueId() const override { return d_cconst('J', 'k', 'F', kDelay ? 'e' : 's'); }

    void initParameter(uint32_t index, Parameter& parameter) override {
        parameter.hints = kParameterIsAutomatable;
        if (index == kGain) {
            parameter.name = "Gain";
            parameter.symbol = "gain";
            parameter.unit = "dB";
            parameter.ranges = ParameterRanges(0.0f, -20.0f, 20.0f);
        } else {
            parameter.name = "Fault";
            parameter.symbol = "fault";
            parameter.hints |= kParameterIsInteger;
            parameter.ranges = ParameterRanges(kNoFault, kNoFault, kHang);
        }
    }

    void initState(uint32_t, State& state) override {
        state.key = "word";
        state.defaultValue = "";
    }

    String getState(const char*) const override { return word; }
    void setState(const char*, const char* value) override { word = value; }
    float getParameterValue(uint32_t index) const override { return values[index]; }
    void setParameterValue(uint32_t index, float value) override { values[index] = value; }

    void activate() override {
        std::memset(held, 0, sizeof(held));
        std::memset(phases, 0, sizeof(phases));
        std::memset(sounding, 0, sizeof(sounding));
        at = 0;
    }

    void misbehave() {
        const int fault = int(values[kFault] + 0.5f);
        if (fault == kCrash)
            *static_cast<volatile int*>(nullptr) = 0;
        if (fault == kHang)
            for (;;)
                usleep(10000);
    }

#ifdef FAULTY_SYNTH
    void run(const float**, float** outputs, uint32_t frames, const MidiEvent* events,
             uint32_t numEvents) override {
        uint32_t next = 0;
        const float gain = 0.1f * std::pow(10.0f, values[kGain] / 20);
        for (uint32_t i = 0; i < frames; ++i) {
            for (; next < numEvents && events[next].frame <= i; ++next) {
                const uint8_t* data = events[next].data;
                const bool on = (data[0] & 0xf0) == 0x90 && data[2] > 0;
                if (on || (data[0] & 0xf0) == 0x80)
                    sounding[data[1] & 127] = on;
            }
            float sum = 0;
            for (int key = 0; key < 128; ++key)
                if (sounding[key]) {
                    const double hz = 440.0 * std::pow(2.0, (key - 69) / 12.0);
                    phases[key] += 2 * M_PI * hz / getSampleRate();
                    sum += float(std::sin(phases[key]));
                }
            outputs[0][i] = outputs[1][i] = gain * sum;
        }
        misbehave();
    }
#else
    void run(const float** inputs, float** outputs, uint32_t frames) override {
        const float gain = std::pow(10.0f, values[kGain] / 20);
        for (uint32_t i = 0; i < frames; ++i) {
            for (int channel = 0; channel < 2; ++channel) {
                const float in = inputs[channel][i];
                outputs[channel][i] = gain * held[channel][at];
                held[channel][at] = in;
            }
            at = (at + 1) % kDelay;
        }
        misbehave();
    }
#endif

private:
#ifdef FAULTY_SYNTH
    static constexpr uint32_t kDelay = 0;
#else
    static constexpr uint32_t kDelay = 100;
#endif
    float values[kParameters] = {0, kNoFault};
    float held[2][kDelay + 1] = {};
    double phases[128] = {};
    bool sounding[128] = {};
    uint32_t at = 0;
    String word;
};

Plugin* createPlugin() { return new Faulty(); }

END_NAMESPACE_DISTRHO
