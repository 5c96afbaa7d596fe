//! People and accounts: who they are, how to reach them.

use super::Domain;

pub(super) fn domain() -> Domain {
    Domain::new("user")
        .code("user_id", "uid, userid, person id, customer id, account id, member id, employee id, contact id, \
            subscriber id, user uuid, principal id, user guid, customer key, user key, person key, business entity id")
        .text("name", "full name, display name, user name, username, login, customer name, contact name, person name, \
            nickname, screen name, real name")
        .text("first_name", "given name, forename, fname, firstname, first")
        .text("last_name", "family name, surname, lname, lastname, last")
        .text("email", "email address, mail, e mail, user email, contact email, emailaddress, primary email")
        .code("phone", "phone number, telephone, mobile, cell phone, tel, mobile phone, phone no, telephone number, phonenumber, contact number")
        .text("company", "company name, employer, organization, organisation, organization name, works for")
        .text("job_title", "occupation, position, role, profession")
        .text("country", "country code, country name, country iso code, country region")
        .text("city", "town, locality, address city")
        .code("status", "account status, user status, membership status, state of account")
        .time("created_at", "created, signup date, registered at, registration date, created on, created date, sign up \
            date, joined at, date joined, member since, date created, creation date, hire date")
        .texts_in(&["name", "job_title", "company"], None)
        .names(&[
            "first name, last name, middle name, full name, display name, nickname, salutation, suffix",
            "email address, phone number, mobile, telephone, phone number type, contact, address line, street, city, \
                postal code, zip code, state province",
            "birth date, date of birth, age, gender, sex, marital status, nationality, education, occupation, income, \
                children, household",
            "user id, username, login, password hash, avatar, profile picture, bio, locale, time zone, email verified, \
                last login",
            "customer id, person id, member id, account number, loyalty points, customer type, customer segment, \
                newsletter opt in, preferences",
            "employee id, job title, hire date, department, manager, salary, leave balance, social security number, employee number",
            "subscription plan, signup date, registered at, account status, user role, is active, is admin, \
                subscriber, followers, friends",
            "student id, major, advisor, enrollment, grade point average, class year, teacher, instructor, faculty, \
                school, course taught",
            "patient id, physician, nurse, insurance number, blood type, height, weight, allergies, next of kin, \
                emergency contact",
            "player, team, position, nationality, hometown, birth place, age, height, years working, member level, join date, card number",
            "prospect, lead, contact person, buyer, owner, sales person, sales quota, bonus, commission, territory",
        ])
        .says(&["a person's profile with name, email address, phone and date of birth", "a new user account was \
            registered", "customer contact details and preferences"])
}
