//! What programs write down about themselves.

use super::Domain;

pub(super) fn domain() -> Domain {
    Domain::new("logs")
        .code("host", "hostname, host name, computer, computer name, server, node, node name, machine, machine name, \
            kubernetes host, logsource, agent hostname, resource attributes host name")
        .text("service", "service name, application, app, program, application name, syslog identifier, process name, \
            source name, appname, job, container name, unit name, facility, provider name, kubernetes container name, \
            resource attributes service name")
        .code("level", "log level, severity, loglevel, severity text, priority, lvl, severity name, levelname, level \
            name, event type severity")
        .text("message", "msg, log message, content, log, text, body, event message, short message, raw message, full \
            message, log line, line, error message")
        .text("logger", "component, logger name, class, module, source, category, channel, log name, tag, scope name, target, logger class")
        .code("thread", "thread name, thread id, tid, threadid, process thread name")
        .code("process_id", "pid, process pid, execution process id, processid, proc id")
        .code("event_code", "event id, eventid, error code, message id, code, event code id, template id")
        .code("trace_id", "trace, traceid, request id, correlation id, trace trace id, x request id, activity id")
        .code("span_id", "span, spanid")
        .text("error", "exception, stack trace, stacktrace, error stack trace, exception message, exception stacktrace, error type, backtrace, traceback")
        .texts_in(&["message", "error"], Some("message"))
        .names(&[
            "log level, severity, message, logger, thread, timestamp, host, service, component, pid, process id, log \
                line",
            "severity text, severity number, body, resource attributes, trace id, span id, scope name, observed \
                timestamp, instrumentation",
            "syslog facility, priority, hostname, program, appname, proc id, msg id, structured data, kernel, systemd unit, boot id, cursor",
            "exception, stack trace, error code, class, method, file, line number, caller, function name, exit code, \
                backtrace",
            "http request, status code, method, path, remote address, user agent, bytes sent, response time, upstream, \
                referer, request length, http version",
            "event id, channel, provider name, computer, task, opcode, keywords, record number, event log, source \
                name, thread id, execution process id, provider guid",
            "container name, pod name, namespace, node name, image, kubernetes labels, docker, stream, stdout, stderr, \
                log file path, offset",
            "date, time, level, content, component, node, pid, user, tag",
            "process guid, image, command line, parent image, rule name, hashes, pipeline, script block, host \
                application, engine version",
        ])
        .says(&[
            "INFO server started, listening on port 8080", "ERROR connection refused while connecting to database host",
            "WARN retrying request after timeout", "Exception in thread main java.lang.NullPointerException at \
                org.apache",
            "kernel: device eth0 entered promiscuous mode", "session opened for user root by uid=0", "GET /index.html \
                HTTP/1.1 200 1024",
            "Received block blk_123 of size 67108864 from 10.0.0.1", "DEBUG executor finished task in stage", "status \
                installed package amd64",
            "Failed password for invalid user from port 22 ssh2", "mod_jk child workerEnv in error state", "checkpointer checkpoint complete wrote buffers",
        ])
}
