//! Visits: what one user or device did from arriving to leaving.

use super::{Domain, Unit};

pub(super) fn domain() -> Domain {
    Domain::new("session")
        .code(
            "session_id",
            "sid, session key, visit id, sessionid, session uuid, session token, ga session id, login \
            session id",
        )
        .code(
            "user_id",
            "visitor id, full visitor id, client id, uid, user pseudo id, anonymous id, \
            account id, userid, user key",
        )
        .time(
            "started_at",
            "session start, start time, visit start time, session start time, login time, started, \
            session started at, login at, begin time",
        )
        .time(
            "ended_at",
            "session end, end time, visit end time, session end time, logout time, ended, session ended \
            at, logout at, last seen",
        )
        .measure(
            "duration_seconds",
            Unit::Seconds,
            "duration, session duration, time on site, visit duration, session \
            length",
        )
        .code("ip_address", "ip, client ip, remote ip, remote address, source ip, remote addr")
        .text("user_agent", "ua, useragent, http user agent, browser user agent")
        .text("device", "device category, device type, device name, device model, device mobile device model")
        .text("browser", "device browser, browser name, user agent name")
        .text("os", "operating system, device operating system, os name, platform, device os")
        .text("country", "geo country, country code, geo network country, country name, location country")
        .text("referrer", "referer, traffic source source, http referrer, referrer url, session source")
        .text("landing_page", "entry page, landing url, landing page path, first page")
        .integer("page_views", "pageviews, totals pageviews, page view count, pages viewed, hits count")
        .texts_in(&["landing_page", "referrer", "device", "browser"], None)
        .names(&[
            "session id, session start, session end, session duration, started at, ended at, session timeout, session \
                status, is active session",
            "visit id, visit number, visit start time, visitor id, full visitor id, new visits, returning visitor, \
                visitor type",
            "totals, hits, pageviews, page views, bounces, bounce, time on site, session quality, screen views, pages \
                per session",
            "login time, logout time, last activity, last seen, idle time, session token, cookie id, csrf token, \
                session expires, remember me",
            "device, browser, browser version, operating system, is mobile, screen resolution, device category, \
                language, user agent",
            "traffic source, medium, campaign, referral path, landing page, exit page, entrance, is entrance, is exit, \
                channel grouping",
            "acct session id, acct session time, acct status type, acct terminate cause, framed ip address, input \
                octets, output octets",
            "session state, last access, remember me, clients, sso session, session index, is engaged, first page, \
                last page, screen count, crashed",
            "connected at, disconnected at, connection id, client address, bytes in, bytes out, session type, terminal",
        ])
        .says(&[
            "a user's visit to the site, from landing page to exit",
            "user logged in, session started",
            "session \
            expired after inactivity",
        ])
}
