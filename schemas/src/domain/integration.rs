//! What other systems send: webhooks, and records of ERP, CRM and shops.

use super::Domain;

pub(super) fn domain() -> Domain {
    Domain::new("integration")
        .text("system", "source system, source, vendor system, provider, app name, origin, integration name, data source, platform name, connector, source connector")
        .text("event_type", "action, event, type, event name, webhook event, change type, operation, hook type, topic, \
            cdc operation")
        .text("object_type", "entity type, resource type, entity, object, record type, data object, entity name, table \
            name, table, source table")
        .code("object_id", "entity id, resource id, record id, external id, data id, product id, purchase order id, \
            vendor id, order id, sales order id, object key, reference id, invoice id, data object id, product key")
        .text("name", "product name, vendor name, repository name, store name, item name, repository full name")
        .code("partner", "supplier, vendor, customer, account name, company, supplier id, account, merchant, partner id, organization login, sender login, data object customer")
        .code("status", "order status, state, delivery status, sync status, payment status, record status, fulfillment \
            status, data object status")
        .number("quantity", "qty, order qty, ordered quantity, quantity on hand, stocked qty, order quantity")
        .number("amount", "total due, total, total amount, line total, price, total price, grand total, \
            sub total, amount due, data object amount")
        .text("currency", "currency code, currency iso, iso currency code, data object currency")
        .text("url", "html url, callback url, endpoint, webhook url, resource url, repository html url, link, hook url")
        .texts_in(&["name", "event_type", "object_type", "partner"], None)
        .names(&[
            "webhook, action, event type, payload, delivery id, sender, repository, organization, installation, hook \
                id, signature, callback url",
            "purchase order, vendor id, supplier, order quantity, unit price, line total, due date, ship date, ship \
                method, freight, tax amount, sub total, total due, received quantity, rejected quantity, stocked \
                quantity",
            "product id, product number, product name, list price, standard cost, stock level, reorder point, safety \
                stock, inventory, warehouse, shelf, bin, location id, product line, size, color, weight, discontinued",
            "invoice, payment, charge, refund, subscription, customer, currency, amount, invoice id, stripe, paypal, \
                merchant, payout, tax rate",
            "account name, opportunity, lead source, deal stage, crm, contact, annual revenue, number of employees, industry, business type, reseller, store, bank name, credit rating, preferred vendor",
            "source system, external id, sync status, last synced, batch id, import, export, connector, endpoint, api \
                key, api version, request id, object type, entity id, correlation id, data content type, spec version",
            "pull request, issue, commit, branch, push, release, workflow run, check run, repository full name, clone \
                url, html url, node id, fork, license, stargazers count",
            "bill of materials, component, assembly, unit measure code, work center, routing, lead time, min order \
                quantity, max order quantity, average lead time, last receipt cost, on order quantity, bom level",
            "shipment, tracking number, carrier, delivery address, order line, sku, special offer, discount \
                percentage, sales tax rate, tax type, ship base, ship rate, fulfillment, customs",
            "before, after, op, source, ts ms, schema, table, database, transaction, lsn, change data capture, primary key, sequence number",
        ])
        .says(&["a webhook was delivered from an external system", "purchase order sent to the vendor", "repository push event", "record synchronised from the erp"])
}
