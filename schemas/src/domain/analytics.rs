//! What was done, for counting: product and web events, and facts of a data warehouse.

use super::Domain;

pub(super) fn domain() -> Domain {
    Domain::new("analytics")
        .text("event_name", "event, event type, event action, action, name of event, eventname, event category, \
            interaction type, activity type")
        .code("user_id", "user pseudo id, anonymous id, distinct id, visitor id, client id, uid, user, userid, customer key, visitor")
        .code("session_id", "ga session id, visit id, sid, sessionid, session")
        .text("page_url", "url, page, page location, page path, path, screen, screen name, page url path, current url, \
            href, context page url")
        .text("page_title", "title, document title, context page title, screen title")
        .text("referrer", "referer, page referrer, traffic source source, context page referrer, source url")
        .text("campaign", "utm campaign, campaign name, traffic source name, campaign id, context campaign name")
        .text("device", "device category, device type, platform, device model, context device type")
        .text("country", "geo country, country name, country code, country iso code, region country")
        .number("amount", "revenue, event value in usd, purchase revenue, sales amount, amount usd, sales, \
            order total, ecommerce purchase revenue")
        .text("currency", "currency code, iso currency")
        .integer("quantity", "qty, total item quantity, item quantity, units sold, ecommerce total item quantity, \
            number of items")
        .texts_in(&["event_name", "page_title", "page_url"], None)
        .names(&[
            "event name, event params, event timestamp, event date, user pseudo id, user properties, event value, \
                event category, event label, event action",
            "page view, page url, page title, page path, click, scroll, impression, referrer, element id, button \
                clicked, search term, screen name",
            "campaign, utm source, utm medium, utm campaign, conversion, ad group, click through rate, cost per click, \
                funnel step, experiment variant, ab test, cohort",
            "purchase, add to cart, checkout, cart value, product viewed, revenue, items, ecommerce, transaction id, \
                coupon, item list",
            "date key, customer key, product key, organization key, account key, scenario key, fact amount, sales amount, measure, calendar quarter, calendar year",
            "page, namespace, edit, added, deleted, delta, comment, is robot, is new, is minor, is anonymous, country \
                name, region name, city name, metro code",
            "survey response, rating, score, satisfaction, net promoter score, calls handled, wait time, handle time, \
                agents, orders, shift, service level",
            "units sold, net sales, gross margin, store id, promotion id, date id, fact, dimension, measure, quantity \
                sold, discount, profit",
            "views, clicks, likes, shares, retweets, watch time, active users, retention, churn, engagement, daily \
                active users",
            "geo, device, platform, app info, traffic source, user first touch timestamp, stream id, is active user, \
                distinct id, anonymous id",
        ])
        .says(&["user clicked the button on the page", "page view event with campaign and referrer", "purchase completed, revenue and items", "sales by quarter and region"])
}
