#include "mock_kafka.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void mock_kafka_start(struct mock_kafka *k, const char *topic)
{
    char binary[PATH_SIZE];
    char folder[PATH_SIZE];
    char port_file[PATH_SIZE];
    char log[PATH_SIZE];
    char *text;

    *k = (struct mock_kafka){0};
    tmp_folder("mock", folder);
    path_join(port_file, folder, "port");
    path_join(log, folder, "log");
    path_join(binary, build_root(), "tests/tools/mock_broker");
    proc_start(&k->proc,
               &(struct proc_params){.argv = (const char *const[]){binary, "--topic", topic,
                                                                   "--port-file", port_file, NULL},
                                     .out_path = log});
    WAIT_UNTIL(access(port_file, R_OK) == 0, 10000);
    text = file_read(port_file);
    (void)snprintf(k->brokers, sizeof k->brokers, "%.*s", (int)strcspn(text, "\n"), text);
    free(text);
}

void mock_kafka_stop(struct mock_kafka *k)
{
    proc_stop(&k->proc, SIGTERM, 10000);
}
