// A CLAP plugin that does in process() all that an audio thread must not: the probe's control.
#include <clap/entry.h>
#include <clap/plugin-factory.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static void* volatile kept;

static bool init(const clap_plugin_t* plugin) { return plugin != NULL; }
static void destroy(const clap_plugin_t* plugin) { (void)plugin; }
static bool activate(const clap_plugin_t* plugin, double rate, uint32_t least, uint32_t most) {
    return plugin != NULL && rate > 0 && least <= most;
}
static bool start(const clap_plugin_t* plugin) { return plugin != NULL; }
static void nothing(const clap_plugin_t* plugin) { (void)plugin; }

static clap_process_status process(const clap_plugin_t* plugin, const clap_process_t* block) {
    (void)plugin;
    const struct timespec moment = {0, 1000};
    kept = malloc(block->frames_count);
    free(kept);
    pthread_mutex_lock(&mutex);
    pthread_mutex_unlock(&mutex);
    nanosleep(&moment, NULL);
    return CLAP_PROCESS_CONTINUE;
}

static const void* no_extension(const clap_plugin_t* plugin, const char* id) {
    (void)plugin;
    (void)id;
    return NULL;
}

static const clap_plugin_descriptor_t about = {
    .clap_version = CLAP_VERSION_INIT,
    .id = "org.jukebox-bridge.bad",
    .name = "Bad",
    .vendor = "",
    .url = "",
    .manual_url = "",
    .support_url = "",
    .version = "1",
    .description = "",
    .features = (const char*[]){NULL},
};

static const clap_plugin_t plugin = {
    .desc = &about,
    .init = init,
    .destroy = destroy,
    .activate = activate,
    .deactivate = nothing,
    .start_processing = start,
    .stop_processing = nothing,
    .reset = nothing,
    .process = process,
    .get_extension = no_extension,
    .on_main_thread = nothing,
};

static uint32_t count(const clap_plugin_factory_t* factory) { return factory != NULL; }
static const clap_plugin_descriptor_t* descriptor(const clap_plugin_factory_t* factory, uint32_t index) {
    return factory != NULL && index == 0 ? &about : NULL;
}
static const clap_plugin_t* create(const clap_plugin_factory_t* factory, const clap_host_t* host, const char* id) {
    return factory != NULL && host != NULL && strcmp(id, about.id) == 0 ? &plugin : NULL;
}
static const clap_plugin_factory_t factory = {count, descriptor, create};

static bool begin(const char* path) { return path != NULL; }
static void end(void) {}
static const void* get_factory(const char* id) { return strcmp(id, CLAP_PLUGIN_FACTORY_ID) == 0 ? &factory : NULL; }

CLAP_EXPORT const clap_plugin_entry_t clap_entry = {CLAP_VERSION_INIT, begin, end, get_factory};
