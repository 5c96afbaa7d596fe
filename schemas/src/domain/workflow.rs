//! Processes and their steps: tickets, jobs, builds, approvals, pipelines.

use super::{Domain, Unit};

pub(super) fn domain() -> Domain {
    Domain::new("workflow")
        .code("workflow_id", "process id, process instance id, workflow name, pipeline id, process name, dag id, job \
            name, workflow, pipeline, process definition key, job id, flow id")
        .code("case_id", "case concept name, run id, case, instance id, ticket id, incident id, execution id, build \
            id, build number, order number of process, application id, workflow run id, task instance id, issue key")
        .text("activity", "concept name, task, task name, step, step name, activity name, stage, stage name, node \
            name, job step, action name, action")
        .text("status", "lifecycle transition, state, transition, outcome, result, conclusion, task status, workflow \
            status, job status")
        .code("assignee", "resource, org resource, performer, assigned to, owner, user, agent, actor, worker, operator, executed by, assigned user")
        .time("started_at", "start time, start timestamp, begin, started, start date, execution start, case start")
        .time("ended_at", "end time, complete timestamp, finished at, completed at, end date, finished, completed, \
            execution end, case end")
        .measure("duration_ms", Unit::Milliseconds, "duration, elapsed, took, run time, processing time, execution \
            time, elapsed time")
        .integer("attempt", "try number, retry count, retries, attempts, attempt number")
        .text("error", "error message, failure reason, exception, fail reason, error text")
        .texts_in(&["activity", "status", "error"], None)
        .names(&[
            "case id, activity, resource, lifecycle transition, concept name, org resource, time timestamp, case \
                concept name, variant, variant index, org group",
            "workflow id, workflow run, run id, step, task, state, status, started at, finished at, next step, \
                attempt, trigger, schedule",
            "ticket, issue, assignee, priority, queue, resolution, opened, closed, due date, escalated, impact, \
                problem, incident, request, approval, sla",
            "problem description, reported by, date reported, date closed, fault, repair, technician, engineer visit, \
                maintenance, claim, claim stage, settlement, outcome",
            "process instance, process definition, task id, task name, business key, transition, from state, to state, \
                gateway, bpmn, case creator, candidate group",
            "dag id, task id, execution date, job name, job status, exit code, retries, upstream, downstream, \
                operator, duration, worker, build number, pipeline stage",
            "application, amount requested, approved, declined, offer, submitted, review, sign off, approver, decision",
            "milestone, sprint, story points, epic, backlog, project, phase, progress, percent complete, dependency, \
                blocked by",
            "step number, command, workflow definition, artifact, target, package, action, build, compile, test, \
                deploy, release, install, stage status",
        ])
        .says(&["the task was completed and assigned to the next step", "take in charge ticket, resolve ticket", "application submitted, accepted, declined", "build step finished, deploy started"])
}
