/* The native loop that ingestd is measured against: copies one topic to another and decodes nothing.
 *
 * A batch is taken, produced, and its offsets are stored when all of it was acknowledged, batches in order; librdkafka
 * commits what is stored. One thread, like the daemon; the same librdkafka options on both sides, given as arguments:
 *
 *     native_loop IN OUT c:group.id=g1 c:bootstrap.servers=... p:bootstrap.servers=... p:acks=all ...
 *
 * SIGTERM ends it. The prototypes stand here so that no -dev package is needed: it is linked against the librdkafka of
 * the confluent-kafka wheel, the one that the daemon uses. */
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

typedef struct { int err; void *rkt; int32_t partition; void *payload; size_t len; void *key; size_t key_len;
                 int64_t offset; void *private; } message;
typedef struct { char *topic; int32_t partition; int64_t offset; void *meta; size_t meta_len; void *opaque; int err;
                 void *private; } toppar;
typedef struct { int cnt, size; toppar *elems; } toppar_list;
void *rd_kafka_conf_new(void);
int rd_kafka_conf_set(void *, const char *, const char *, char *, size_t);
void rd_kafka_conf_set_dr_msg_cb(void *, void (*)(void *, const message *, void *));
void *rd_kafka_new(int, void *, char *, size_t);
int rd_kafka_poll_set_consumer(void *);
int rd_kafka_subscribe(void *, toppar_list *);
toppar_list *rd_kafka_topic_partition_list_new(int);
toppar *rd_kafka_topic_partition_list_add(toppar_list *, const char *, int32_t);
void rd_kafka_topic_partition_list_destroy(toppar_list *);
void *rd_kafka_queue_get_consumer(void *);
ssize_t rd_kafka_consume_batch_queue(void *, int, message **, size_t);
void *rd_kafka_topic_new(void *, const char *, void *);
int rd_kafka_produce_batch(void *, int32_t, int, message *, int);
int rd_kafka_poll(void *, int);
int rd_kafka_offsets_store(void *, toppar_list *);
void rd_kafka_message_destroy(message *);

enum { BATCH = 2000, RING = 32, PARTITIONS = 512, UNASSIGNED = -1, CONSUMER = 1, PRODUCER = 0,
       PARTITION_GIVEN = 8 };              /* RD_KAFKA_MSG_F_PARTITION: no partitioner is asked, a record at a time */

typedef struct { message *taken[BATCH]; int count, pending; } batch;

static batch ring[RING];
static volatile sig_atomic_t stopping;
static int failed;

static void on_signal(int number) { (void)number; stopping = 1; }

static void on_report(void *rk, const message *report, void *opaque) {
  (void)rk; (void)opaque;
  if (report->err) failed = report->err;
  ((batch *)report->private)->pending--;
}

static void *handle(int kind, int argc, char **argv, char prefix) {
  char error[512];
  void *conf = rd_kafka_conf_new();
  for (int i = 3; i < argc; i++) {
    if (argv[i][0] != prefix || argv[i][1] != ':') continue;
    char *name = strdup(argv[i] + 2), *value = strchr(name, '=');
    *value++ = 0;
    if (rd_kafka_conf_set(conf, name, value, error, sizeof error)) { fprintf(stderr, "%s\n", error); exit(2); }
    free(name);
  }
  if (kind == PRODUCER) rd_kafka_conf_set_dr_msg_cb(conf, on_report);
  void *rk = rd_kafka_new(kind, conf, error, sizeof error);
  if (!rk) { fprintf(stderr, "%s\n", error); exit(2); }
  return rk;
}

/* Stores the offsets behind every record of a finished batch, and gives its messages back. */
static void retire(batch *done, void *consumer, const char *topic, int64_t *next) {
  char touched[PARTITIONS] = {0};
  toppar_list *list = rd_kafka_topic_partition_list_new(8);
  for (int i = 0; i < done->count; i++) {
    next[done->taken[i]->partition] = done->taken[i]->offset + 1;
    touched[done->taken[i]->partition] = 1;
    rd_kafka_message_destroy(done->taken[i]);
  }
  for (int p = 0; p < PARTITIONS; p++)
    if (touched[p]) rd_kafka_topic_partition_list_add(list, topic, p)->offset = next[p];
  rd_kafka_offsets_store(consumer, list);
  rd_kafka_topic_partition_list_destroy(list);
}

int main(int argc, char **argv) {
  static message out[BATCH], *in[BATCH];
  static int64_t next[PARTITIONS];
  unsigned long head = 0, tail = 0;
  if (argc < 4) { fprintf(stderr, "native_loop IN OUT c:KEY=VALUE ... p:KEY=VALUE ...\n"); return 2; }
  signal(SIGTERM, on_signal);
  signal(SIGINT, on_signal);
  void *consumer = handle(CONSUMER, argc, argv, 'c'), *producer = handle(PRODUCER, argc, argv, 'p');
  void *topic = rd_kafka_topic_new(producer, argv[2], NULL), *queue;
  toppar_list *wanted = rd_kafka_topic_partition_list_new(1);
  rd_kafka_topic_partition_list_add(wanted, argv[1], UNASSIGNED);
  rd_kafka_poll_set_consumer(consumer);
  rd_kafka_subscribe(consumer, wanted);
  queue = rd_kafka_queue_get_consumer(consumer);
  while (!stopping && !failed) {
    while (tail < head && ring[tail % RING].pending == 0) retire(&ring[tail++ % RING], consumer, argv[1], next);
    rd_kafka_poll(producer, head - tail == RING ? 5 : 0);
    if (head - tail == RING) continue;
    ssize_t count = rd_kafka_consume_batch_queue(queue, 5, in, BATCH);
    batch *now = &ring[head % RING];
    now->count = 0;
    for (ssize_t i = 0; i < count; i++) {
      if (in[i]->err) { rd_kafka_message_destroy(in[i]); continue; }
      memset(&out[now->count], 0, sizeof *out);
      /* The payload is not copied: the message is held until its report is in. */
      out[now->count].payload = in[i]->payload;
      out[now->count].len = in[i]->len;
      out[now->count].partition = in[i]->partition;
      out[now->count].private = now;
      now->taken[now->count++] = in[i];
    }
    if (!now->count) continue;
    now->pending = now->count;
    head++;
    for (int begin = 0; begin < now->count;) {
      int done = rd_kafka_produce_batch(topic, UNASSIGNED, PARTITION_GIVEN, out + begin, now->count - begin);
      if (done == now->count - begin) break;
      /* The queue is full: keep what was refused, in order, and give librdkafka time. */
      int kept = 0;
      for (int i = begin; i < now->count; i++)
        if (out[i].err) { message again = out[i]; again.err = 0; out[kept++] = again; }
      memmove(out + now->count - kept, out, kept * sizeof *out);
      begin = now->count - kept;
      rd_kafka_poll(producer, 5);
    }
  }
  if (failed) fprintf(stderr, "a record was refused: error %d\n", failed);
  _Exit(failed ? 1 : 0);
}
