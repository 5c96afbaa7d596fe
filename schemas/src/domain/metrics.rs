//! Measurements: a number at a time, of something that has a name.

use super::Domain;

pub(super) fn domain() -> Domain {
    Domain::new("metrics")
        .text(
            "name",
            "metric name, metric, metricname, measurement, series, series name, sensor, sensor name, sensor \
            id, gauge, counter name, indicator, field name, metric id",
        )
        .number(
            "value",
            "val, metric value, measurement value, reading, sensor value, sample value, gauge value, as \
            double, as int, double value",
        )
        .text("unit", "units, uom, unit of measure, measure unit, metric unit, unit code")
        .code("host", "hostname, host name, instance, node, server, node name, machine, device id, instance id")
        .text("service", "service name, job, application, app, namespace, component")
        .json("tags", "labels, dimensions, attributes, tag set, label set, dims")
        .texts_in(&[], None)
        .names(&[
            "metric name, metric value, value, timestamp, unit, labels, tags, dimensions, host, instance, job",
            "cpu utilization, cpu usage, memory usage, disk usage, load average, network in, network out, disk read \
                bytes, disk write bytes, free space",
            "count, sum, min, max, average, mean, median, p50, p90, p95, p99, percentile, stddev, rate, histogram \
                bucket, quantile",
            "temperature, humidity, pressure, voltage, current, power, speed, vibration, sensor id, sensor reading, \
                occupancy, flow rate, level, battery",
            "latency, throughput, requests per second, error rate, response time, queue depth, uptime, saturation, \
                heap used, gc pause, thread count, connections",
            "gauge, counter, histogram, summary, measurement, field value, data point, sample, series, aggregation \
                temporality, is monotonic, start time unix nano",
            "energy consumption, air quality, co2, wind speed, rainfall, heart rate, steps, weight, meter reading, kwh",
        ])
        .says(&["cpu usage 83 percent", "a measurement of a sensor at a time", "average value per interval"])
}
