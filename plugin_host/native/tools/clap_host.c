// A CLAP host that is told on stdin what to do, for tests: it plays raw float32 stereo files
// through the plugin and counts what the plugin does in process() that an audio thread must not.
//
//   clap_host PLUGIN.clap < COMMANDS
//
//   open RATE MAXBLOCK        creates and activates the plugin
//   close                     destroys it; prints `closed MS`
//   set NAME VALUE            at the next block
//   get NAME                  prints `value NAME V`
//   play TEMPO NUM DEN FRAME  the transport rolls from FRAME on
//   loop FROM TO              and jumps from TO back to FROM
//   halt                      the transport stops
//   note KEY VELOCITY         at the next block; velocity 0 ends it
//   run FRAMES BLOCK          processes; BLOCK 0: random sizes up to MAXBLOCK
//   pace X                    runs at X times the speed of time; 0: as fast as it goes
//   until NAME VALUE MS       runs blocks (no transport) until a value is there; prints `met` or `unmet`
//   input FILE | output FILE  raw interleaved float32; without input: silence
//   save FILE | load FILE     the plugin's state
//   counts                    prints `blocks N allocations N locks N calls N`
#define _GNU_SOURCE
#include <clap/entry.h>
#include <clap/ext/params.h>
#include <clap/ext/state.h>
#include <clap/plugin-factory.h>
#include <dlfcn.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

static __thread bool in_process;
static unsigned long blocks, allocations, locks, calls;

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
void* __libc_malloc(size_t);
void __libc_free(void*);
void* __libc_calloc(size_t, size_t);
void* __libc_realloc(void*, size_t);
void* __libc_memalign(size_t, size_t);

__attribute__((visibility("default"))) void* malloc(size_t size) {
    allocations += in_process;
    return __libc_malloc(size);
}
__attribute__((visibility("default"))) void free(void* memory) {
    allocations += in_process;
    __libc_free(memory);
}
__attribute__((visibility("default"))) void* calloc(size_t count, size_t size) {
    allocations += in_process;
    return __libc_calloc(count, size);
}
__attribute__((visibility("default"))) void* realloc(void* memory, size_t size) {
    allocations += in_process;
    return __libc_realloc(memory, size);
}

__attribute__((visibility("default"))) void* aligned_alloc(size_t alignment, size_t size) {
    allocations += in_process;
    return __libc_memalign(alignment, size);
}
__attribute__((visibility("default"))) int posix_memalign(void** memory, size_t alignment, size_t size) {
    allocations += in_process;
    *memory = __libc_memalign(alignment, size);
    return *memory == NULL ? ENOMEM : 0;
}

#define NEXT(type, name) \
    static __typeof__(type) next;\
    if (next == NULL) next = (__typeof__(next))dlsym(RTLD_NEXT, name)

__attribute__((visibility("default"))) int pthread_mutex_lock(pthread_mutex_t* mutex) {
    NEXT(int (*)(pthread_mutex_t*), "pthread_mutex_lock");
    locks += in_process;
    return next(mutex);
}
__attribute__((visibility("default"))) int pthread_mutex_trylock(pthread_mutex_t* mutex) {
    NEXT(int (*)(pthread_mutex_t*), "pthread_mutex_trylock");
    locks += in_process;
    return next(mutex);
}
__attribute__((visibility("default"))) ssize_t write(int to, const void* data, size_t size) {
    NEXT(ssize_t (*)(int, const void*, size_t), "write");
    calls += in_process;
    return next(to, data, size);
}
__attribute__((visibility("default"))) ssize_t read(int from, void* data, size_t size) {
    NEXT(ssize_t (*)(int, void*, size_t), "read");
    calls += in_process;
    return next(from, data, size);
}
__attribute__((visibility("default"))) int poll(struct pollfd* what, nfds_t count, int timeout) {
    NEXT(int (*)(struct pollfd*, nfds_t, int), "poll");
    calls += in_process;
    return next(what, count, timeout);
}
__attribute__((visibility("default"))) int nanosleep(const struct timespec* time, struct timespec* left) {
    NEXT(int (*)(const struct timespec*, struct timespec*), "nanosleep");
    calls += in_process;
    return next(time, left);
}
__attribute__((visibility("default"))) int clock_nanosleep(clockid_t id, int flags, const struct timespec* time,
                                                            struct timespec* left) {
    NEXT(int (*)(clockid_t, int, const struct timespec*, struct timespec*), "clock_nanosleep");
    calls += in_process;
    return next(id, flags, time, left);
}
#endif

static void die(const char* why, const char* what) {
    fprintf(stderr, "clap_host: %s: %s\n", why, what);
    exit(2);
}

static double now_s(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static const void* no_extension(const clap_host_t* host, const char* id) {
    (void)host;
    (void)id;
    return NULL;
}
static void nothing(const clap_host_t* host) { (void)host; }

static const clap_host_t host = {
    .clap_version = CLAP_VERSION_INIT,
    .name = "probe",
    .vendor = "probe",
    .url = "",
    .version = "1",
    .get_extension = no_extension,
    .request_restart = nothing,
    .request_process = nothing,
    .request_callback = nothing,
};

#define MAX_EVENTS 64
static union {
    clap_event_header_t header;
    clap_event_param_value_t param;
    clap_event_midi_t midi;
} queued[MAX_EVENTS];
static uint32_t num_queued;

static uint32_t count_events(const clap_input_events_t* list) {
    (void)list;
    return num_queued;
}
static const clap_event_header_t* event_at(const clap_input_events_t* list, uint32_t index) {
    (void)list;
    return &queued[index].header;
}
static bool take_event(const clap_output_events_t* list, const clap_event_header_t* event) {
    (void)list;
    (void)event;
    return true;
}
static const clap_input_events_t in_events = {NULL, count_events, event_at};
static const clap_output_events_t out_events = {NULL, take_event};

static const clap_plugin_factory_t* factory;
static const clap_plugin_t* plugin;
static const clap_plugin_params_t* params;
static const clap_plugin_state_t* state;
static double rate = 48000.0;
static uint32_t max_block = 8192;
static FILE *input, *output;
static double pace;
static bool rolling;
static double tempo = 120.0;
static int numerator = 4, denominator = 4;
static int64_t song_frame, loop_from, loop_to, steady;
static uint32_t random_state = 1;

static void open_plugin(void) {
    const clap_plugin_descriptor_t* about = factory->get_plugin_descriptor(factory, 0);
    plugin = factory->create_plugin(factory, &host, about->id);
    if (plugin == NULL || !plugin->init(plugin)) die("cannot be created", about->id);
    params = plugin->get_extension(plugin, CLAP_EXT_PARAMS);
    state = plugin->get_extension(plugin, CLAP_EXT_STATE);
    if (!plugin->activate(plugin, rate, 1, max_block)) die("cannot be activated", about->id);
    plugin->start_processing(plugin);
    steady = 0;
}

static void close_plugin(void) {
    plugin->stop_processing(plugin);
    plugin->deactivate(plugin);
    plugin->destroy(plugin);
    plugin = NULL;
}

static clap_id id_of(const char* name) {
    clap_param_info_t info;
    for (uint32_t i = 0; i < params->count(plugin); ++i)
        if (params->get_info(plugin, i, &info) && strcmp(info.name, name) == 0) return info.id;
    die("no such parameter", name);
    return 0;
}

static double value_of(const char* name) {
    double value = 0.0;
    params->get_value(plugin, id_of(name), &value);
    return value;
}

static void block(uint32_t frames) {
    static float in[2][8192], out[2][8192], both[2 * 8192];
    memset(both, 0, sizeof(both));
    if (input != NULL && fread(both, 2 * sizeof(float), frames, input) == 0) memset(both, 0, sizeof(both));
    for (uint32_t i = 0; i < frames; ++i) {
        in[0][i] = both[2 * i];
        in[1][i] = both[2 * i + 1];
    }
    const double beats = (double)song_frame / rate * tempo / 60.0;
    const double quarters_a_bar = numerator * 4.0 / denominator;
    const clap_event_transport_t transport = {
        .header = {sizeof(transport), 0, CLAP_CORE_EVENT_SPACE_ID, CLAP_EVENT_TRANSPORT, 0},
        .flags = CLAP_TRANSPORT_HAS_TEMPO | CLAP_TRANSPORT_HAS_BEATS_TIMELINE | CLAP_TRANSPORT_HAS_TIME_SIGNATURE |
                 (rolling ? CLAP_TRANSPORT_IS_PLAYING : 0),
        .song_pos_beats = (clap_beattime)(beats * (double)CLAP_BEATTIME_FACTOR + 0.5),
        .tempo = tempo,
        .bar_start = 0,
        .bar_number = (int32_t)(beats / quarters_a_bar),
        .tsig_num = (uint16_t)numerator,
        .tsig_denom = (uint16_t)denominator,
    };
    float* ins[2] = {in[0], in[1]};
    float* outs[2] = {out[0], out[1]};
    const clap_audio_buffer_t from = {.data32 = ins, .channel_count = 2};
    clap_audio_buffer_t to = {.data32 = outs, .channel_count = 2};
    const clap_process_t process = {
        .steady_time = steady,
        .frames_count = frames,
        .transport = rolling ? &transport : NULL,
        .audio_inputs = &from,
        .audio_outputs = &to,
        .audio_inputs_count = 1,
        .audio_outputs_count = 1,
        .in_events = &in_events,
        .out_events = &out_events,
    };
    in_process = true;
    plugin->process(plugin, &process);
    in_process = false;
    ++blocks;
    num_queued = 0;
    steady += frames;
    if (rolling) song_frame += frames;
    if (output == NULL) return;
    for (uint32_t i = 0; i < frames; ++i) {
        both[2 * i] = out[0][i];
        both[2 * i + 1] = out[1][i];
    }
    fwrite(both, 2 * sizeof(float), frames, output);
}

static void run(int64_t frames, uint32_t size) {
    const double begun = now_s();
    for (int64_t done = 0; done < frames;) {
        uint32_t next = size;
        if (size == 0) {
            random_state = random_state * 1664525u + 1013904223u;
            next = 1 + (random_state >> 8) % max_block;
        }
        if (next > frames - done) next = (uint32_t)(frames - done);
        if (rolling && loop_to > song_frame && song_frame + next > loop_to) next = (uint32_t)(loop_to - song_frame);
        block(next);
        if (rolling && loop_to > 0 && song_frame == loop_to) song_frame = loop_from;
        done += next;
        if (pace <= 0.0) continue;
        const double ahead = begun + (double)done / rate / pace - now_s();
        if (ahead > 0.0) usleep((useconds_t)(1e6 * ahead));
    }
}

static void until(const char* name, double wanted, int patience_ms) {
    const double end = now_s() + patience_ms / 1000.0;
    while (now_s() < end) {
        if (value_of(name) == wanted) {
            puts("met");
            return;
        }
        usleep(2000);
    }
    printf("unmet %g\n", value_of(name));
}

static void push(clap_event_header_t header) {
    if (num_queued == MAX_EVENTS) die("too many events", "in one block");
    queued[num_queued].header = header;
}

static void set(const char* name, double value) {
    push((clap_event_header_t){sizeof(clap_event_param_value_t), 0, CLAP_CORE_EVENT_SPACE_ID, CLAP_EVENT_PARAM_VALUE, 0});
    clap_event_param_value_t* event = &queued[num_queued++].param;
    event->param_id = id_of(name);
    event->cookie = NULL;
    event->note_id = event->port_index = event->channel = event->key = -1;
    event->value = value;
}

static void note(int key, int velocity) {
    push((clap_event_header_t){sizeof(clap_event_midi_t), 0, CLAP_CORE_EVENT_SPACE_ID, CLAP_EVENT_MIDI, 0});
    clap_event_midi_t* event = &queued[num_queued++].midi;
    event->port_index = 0;
    event->data[0] = velocity > 0 ? 0x90 : 0x80;
    event->data[1] = (uint8_t)key;
    event->data[2] = (uint8_t)velocity;
}

static int64_t write_state(const clap_ostream_t* stream, const void* data, uint64_t size) {
    return (int64_t)fwrite(data, 1, size, stream->ctx);
}
static int64_t read_state(const clap_istream_t* stream, void* data, uint64_t size) {
    return (int64_t)fread(data, 1, size, stream->ctx);
}

static FILE* opened(const char* path, const char* mode) {
    FILE* file = fopen(path, mode);
    if (file == NULL) die(strerror(errno), path);
    return file;
}

static void save(const char* path) {
    FILE* file = opened(path, "wb");
    const clap_ostream_t stream = {file, write_state};
    if (!state->save(plugin, &stream)) die("state not saved", path);
    fclose(file);
}

static void load(const char* path) {
    FILE* file = opened(path, "rb");
    const clap_istream_t stream = {file, read_state};
    if (!state->load(plugin, &stream)) die("state not loaded", path);
    fclose(file);
}

static bool obey(const char* line) {
    char verb[32] = "", name[64] = "", path[1024] = "";
    double a = 0, b = 0, c = 0, d = 0;
    if (sscanf(line, "%31s", verb) < 1) return true;
    const char* rest = line + strlen(verb);
    if (strcmp(verb, "open") == 0 && sscanf(rest, "%lf %lf", &a, &b) == 2) {
        rate = a;
        max_block = (uint32_t)b;
        const double begun = now_s();
        open_plugin();
        printf("opened %.3f\n", 1000.0 * (now_s() - begun));
    } else if (strcmp(verb, "close") == 0) {
        const double begun = now_s();
        close_plugin();
        printf("closed %.3f\n", 1000.0 * (now_s() - begun));
    } else if (strcmp(verb, "set") == 0 && sscanf(rest, " %63[^:]: %lf", name, &a) == 2) {
        set(name, a);
    } else if (strcmp(verb, "get") == 0 && sscanf(rest, " %63[^\n]", name) == 1) {
        printf("value %s %.9g\n", name, value_of(name));
    } else if (strcmp(verb, "play") == 0 && sscanf(rest, "%lf %lf %lf %lf", &a, &b, &c, &d) == 4) {
        rolling = true;
        tempo = a;
        numerator = (int)b;
        denominator = (int)c;
        song_frame = (int64_t)d;
    } else if (strcmp(verb, "loop") == 0 && sscanf(rest, "%lf %lf", &a, &b) == 2) {
        loop_from = (int64_t)a;
        loop_to = (int64_t)b;
    } else if (strcmp(verb, "halt") == 0) {
        rolling = false;
    } else if (strcmp(verb, "note") == 0 && sscanf(rest, "%lf %lf", &a, &b) == 2) {
        note((int)a, (int)b);
    } else if (strcmp(verb, "run") == 0 && sscanf(rest, "%lf %lf", &a, &b) == 2) {
        run((int64_t)a, (uint32_t)b);
    } else if (strcmp(verb, "pace") == 0 && sscanf(rest, "%lf", &a) == 1) {
        pace = a;
    } else if (strcmp(verb, "until") == 0 && sscanf(rest, " %63[^:]: %lf %lf", name, &a, &b) == 3) {
        until(name, a, (int)b);
    } else if (strcmp(verb, "input") == 0 && sscanf(rest, " %1023[^\n]", path) == 1) {
        input = opened(path, "rb");
    } else if (strcmp(verb, "output") == 0 && sscanf(rest, " %1023[^\n]", path) == 1) {
        if (output != NULL) fclose(output);
        output = opened(path, "wb");
    } else if (strcmp(verb, "save") == 0 && sscanf(rest, " %1023[^\n]", path) == 1) {
        save(path);
    } else if (strcmp(verb, "load") == 0 && sscanf(rest, " %1023[^\n]", path) == 1) {
        load(path);
    } else if (strcmp(verb, "counts") == 0) {
        printf("blocks %lu allocations %lu locks %lu calls %lu\n", blocks, allocations, locks, calls);
    } else {
        return false;
    }
    return true;
}

int main(int count, char** arguments) {
    if (count != 2) die("usage", "clap_host PLUGIN.clap < COMMANDS");
    void* library = dlopen(arguments[1], RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) die("not loaded", dlerror());
    const clap_plugin_entry_t* entry = dlsym(library, "clap_entry");
    if (entry == NULL || !entry->init(arguments[1])) die("no entry", arguments[1]);
    factory = entry->get_factory(CLAP_PLUGIN_FACTORY_ID);
    if (factory == NULL) die("no factory", arguments[1]);
    char line[2048];
    setvbuf(stdout, NULL, _IOLBF, 0);
    while (fgets(line, sizeof(line), stdin) != NULL)
        if (!obey(line)) die("not understood", line);
    if (plugin != NULL) close_plugin();
    if (output != NULL) fclose(output);
    entry->deinit();
    return 0;
}
