//! Audit trails: who did what to which thing, whether it was allowed, under which rule.

use super::Domain;

pub(super) fn domain() -> Domain {
    Domain::new("compliance")
        .code("actor", "user id, subject user name, principal, user identity arn, user name, user identity user name, account name, user, actor id, initiator, performed by, requester, username, actor name, target user name, actor login, user identity principal id")
        .text("action", "event name, operation, activity, event action, action type, audit action, api, permission, \
            command, request verb, verb, eventname, api name")
        .text("resource", "object name, target, resource name, object id, resource id, request uri, resource arn, \
            object, target resource, bucket name, key, process name, item name, resource type, entity")
        .text("outcome", "result, status, result status, outcome result, decision, error code, access result, audit \
            result, keywords result, response status, success")
        .code("source_ip", "source ip address, ip address, client ip, remote ip, src ip, ip, caller ip address, client \
            ip address, actor ip")
        .code("event_code", "event id, eventid, record type, audit id, event type id, rule id, event code id")
        .text("policy", "rule, control, regulation, policy name, rule name, requirement, control id, framework")
        .code("severity", "risk, risk level, level, priority, risk score, criticality")
        .text("reason", "error message, failure reason, justification, justification text, message, details, comment")
        .texts_in(&["action", "resource", "outcome", "reason"], None)
        .names(&[
            "actor, action, resource, outcome, audit event, performed by, approved by, audit id, audit log, who, what, \
                when, change reason",
            "user identity, event source, event name, aws region, source ip address, request parameters, response \
                elements, event type, recipient account id, read only, management event, access key id, mfa \
                authenticated",
            "subject user name, subject user sid, subject domain name, subject logon id, target user name, target user \
                sid, logon type, logon process name, privilege list, access mask, object name, object type, object \
                server, handle id, authentication package name",
            "operation, record type, user type, organization id, workload, client ip, result status, user key, object \
                id, creation time, logon error, extended properties, modified properties",
            "policy, rule, violation, finding, severity, risk score, control, evidence, regulation, gdpr, hipaa, sox, \
                pci, compliance status, remediation, exception granted",
            "consent, data subject, purpose, lawful basis, retention period, erasure request, right to access, opt \
                out, privacy, personal data, processing activity, data category",
            "access granted, access denied, permission, role assignment, privilege escalation, authentication failure, \
                failed login, credential, password change, security group, audit policy change",
            "requester, bucket owner, remote ip, requestor, request uri, object key, http status, error code, \
                authentication type, cipher suite, tls version, host id, bucket",
            "sanctions, kyc, aml, suspicious activity, screening, customer due diligence, beneficial owner, \
                politically exposed, attestation, certificate, inspection",
            "authentication info, principal email, method name, authorization info, permission granted, resource name, \
                service account, caller ip",
            "verb, stage, request uri, user groups, impersonated user, object ref, response status, annotations \
                decision, audit level, request received timestamp",
        ])
        .says(&[
            "an account was successfully logged on", "special privileges assigned to new logon", "an operation was \
                attempted on a privileged object",
            "access to the resource was denied by policy", "user granted administrator role", "the audit log was \
                cleared", "a handle to an object was requested",
            "the windows filtering platform has permitted a connection", "type=SYSCALL audit success exe uid auid", "a \
                personal data erasure request was received",
        ])
}
