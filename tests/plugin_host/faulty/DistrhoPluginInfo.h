// A plugin that does on purpose what third-party plugins do by mistake; FAULTY_SYNTH makes it a synth.
#ifndef DISTRHO_PLUGIN_INFO_H_INCLUDED
#define DISTRHO_PLUGIN_INFO_H_INCLUDED

#define DISTRHO_PLUGIN_BRAND "jukebox-bridge"
#define DISTRHO_PLUGIN_BRAND_ID JkBr
#define DISTRHO_PLUGIN_CLAP_ID "tests.jukebox-bridge." DISTRHO_PLUGIN_NAME
#define DISTRHO_PLUGIN_HAS_UI 0
#define DISTRHO_PLUGIN_IS_RT_SAFE 1
#define DISTRHO_PLUGIN_NUM_OUTPUTS 2
#define DISTRHO_PLUGIN_WANT_LATENCY 1
#define DISTRHO_PLUGIN_WANT_STATE 1
#define DISTRHO_PLUGIN_WANT_FULL_STATE 1

#ifdef FAULTY_SYNTH
#define DISTRHO_PLUGIN_NAME "Faulty Synth"
#define DISTRHO_PLUGIN_URI "urn:jukebox-bridge:tests:synth"
#define DISTRHO_PLUGIN_UNIQUE_ID JkFs
#define DISTRHO_PLUGIN_IS_SYNTH 1
#define DISTRHO_PLUGIN_NUM_INPUTS 0
#define DISTRHO_PLUGIN_WANT_MIDI_INPUT 1
#else
#define DISTRHO_PLUGIN_NAME "Faulty Effect"
#define DISTRHO_PLUGIN_URI "urn:jukebox-bridge:tests:effect"
#define DISTRHO_PLUGIN_UNIQUE_ID JkFe
#define DISTRHO_PLUGIN_NUM_INPUTS 2
#endif

#endif
