-- Windows of a day.
CREATE TABLE aggregates_day (LIKE aggregates_minute INCLUDING ALL) {by window};
