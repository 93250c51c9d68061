# librdkafka's mock cluster: the real protocol on a real TCP port. For the demo and for tests of faults, not for load.
#
# The cluster runs on a thread of librdkafka's own, and belongs to the rd_kafka_t of this handle, which itself sends and
# fetches nothing: its queue carries the cluster's log lines. Whoever produces or consumes opens another handle and
# dials `bootstraps`, also from another process.

@cython.final
cdef class MockCluster(Handle):
    """Brokers on 127.0.0.1 in this process. Keeps 5 MiB or 100,000 records a partition, then the oldest are deleted.

    Every method may be called from any thread that may wait; librdkafka passes most of them to the cluster's thread.
    """

    cdef void *cluster
    cdef readonly str bootstraps

    def __init__(self, int broker_count=1):
        self.open(TYPE_PRODUCER, {}, 0)
        self.cluster = f.rd_kafka_mock_cluster_new(self.rk, broker_count)
        if self.cluster == NULL:
            raise failure(ERR_FAIL, "the mock cluster could not be made")
        self.bootstraps = f.rd_kafka_mock_cluster_bootstraps(self.cluster).decode()
        # The default of 3 s is for many members that start together.
        f.rd_kafka_mock_group_initial_rebalance_delay_ms(self.cluster, 0)

    def create_topic(self, str name not None, int partitions, int replication=1):
        """Waits for the thread of the cluster, which may take 0.25 s. Several threads may wait at once."""
        cdef bytes topic = name.encode()
        cdef const char *text = topic
        cdef int code
        with nogil:
            code = f.rd_kafka_mock_topic_create(self.cluster, text, partitions, replication)
        if code:
            raise failure(code)

    def push_errors(self, int api_key, codes):
        """The next requests of this kind are answered with these errors, 0 being none."""
        cdef int errors[64]
        cdef size_t count = 0
        for code in codes:
            if count == 64:
                raise ValueError("at most 64 errors at once")
            errors[count] = code
            count += 1
        f.rd_kafka_mock_push_request_errors_array(self.cluster, <int16_t>api_key, count, errors)

    def clear_errors(self, int api_key):
        """Take back what `push_errors` has left."""
        f.rd_kafka_mock_clear_request_errors(self.cluster, <int16_t>api_key)

    def broker_down(self, int broker_id=1):
        """Its connections are closed, and new ones refused."""
        f.rd_kafka_mock_broker_set_down(self.cluster, broker_id)

    def broker_up(self, int broker_id=1):
        f.rd_kafka_mock_broker_set_up(self.cluster, broker_id)

    def broker_delay_ms(self, int delay_ms, int broker_id=1):
        """Every answer of the broker takes this much longer."""
        f.rd_kafka_mock_broker_set_rtt(self.cluster, broker_id, delay_ms)

    def poll_main(self):
        """[KafkaNotice]; to be called now and then so that log lines do not pile up."""
        return poll_log(self.log_queue)

    def close(self):
        """Runs on: any thread that may block. The cluster ends before its handle, into which it logs."""
        cdef void *cluster = self.cluster
        self.cluster = NULL
        if cluster != NULL:
            with nogil:
                f.rd_kafka_mock_cluster_destroy(cluster)
        self.destroy()
