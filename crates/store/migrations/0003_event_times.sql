-- Schema 3: when the events of an ended answer were appended to its log.

-- Written once, at the end. Answers that ended before this schema, or whose server died meanwhile, have no row.
CREATE TABLE event_times (
    answer INTEGER PRIMARY KEY,  -- its number
    data   BLOB NOT NULL         -- the time of its creation, and the gap before each event
) STRICT;

CREATE TRIGGER event_times_end_with_their_answer AFTER UPDATE OF state ON answers WHEN NEW.state > 1 BEGIN
    DELETE FROM event_times WHERE answer = NEW.number;
END;
CREATE TRIGGER event_times_go_with_their_answer AFTER DELETE ON answers BEGIN
    DELETE FROM event_times WHERE answer = OLD.number;
END;
