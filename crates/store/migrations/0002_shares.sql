-- Schema 2: what each caller has stored, so that nobody's answers make room for somebody else's.

-- One row for each owner, kept in step by triggers.
CREATE TABLE shares (
    owner TEXT PRIMARY KEY,
    bytes INTEGER NOT NULL   -- of items and of finished logs
) STRICT, WITHOUT ROWID;

ALTER TABLE logs ADD COLUMN owner TEXT;
UPDATE logs SET owner = (SELECT owner FROM answers WHERE answers.id = logs.id);

INSERT INTO shares
SELECT owner, sum(bytes) FROM (
    SELECT owner, bytes FROM logs WHERE owner IS NOT NULL
    UNION ALL
    SELECT answers.owner, octet_length(json) FROM items JOIN answers ON answers.number = items.answer WHERE json IS NOT NULL
) GROUP BY owner;

CREATE INDEX answers_by_owner_and_end ON answers (owner, ended_at, place) WHERE state = 1;

CREATE TRIGGER logs_are_counted AFTER INSERT ON logs BEGIN
    UPDATE logs SET owner = (SELECT owner FROM answers WHERE answers.id = NEW.id) WHERE number = NEW.number;
    INSERT INTO shares SELECT owner, NEW.bytes FROM answers WHERE answers.id = NEW.id
        ON CONFLICT DO UPDATE SET bytes = bytes + excluded.bytes;
END;
CREATE TRIGGER logs_are_given_back AFTER DELETE ON logs BEGIN
    UPDATE shares SET bytes = bytes - OLD.bytes WHERE owner = OLD.owner;
END;
CREATE TRIGGER items_are_counted AFTER INSERT ON items WHEN NEW.json IS NOT NULL BEGIN
    INSERT INTO shares SELECT owner, octet_length(NEW.json) FROM answers WHERE number = NEW.answer
        ON CONFLICT DO UPDATE SET bytes = bytes + excluded.bytes;
END;
CREATE TRIGGER items_are_emptied AFTER UPDATE OF json ON items WHEN OLD.json IS NOT NULL AND NEW.json IS NULL BEGIN
    UPDATE shares SET bytes = bytes - octet_length(OLD.json) WHERE owner = (SELECT owner FROM answers WHERE number = OLD.answer);
END;
CREATE TRIGGER items_are_given_back AFTER DELETE ON items WHEN OLD.json IS NOT NULL BEGIN
    UPDATE shares SET bytes = bytes - octet_length(OLD.json) WHERE owner = (SELECT owner FROM answers WHERE number = OLD.answer);
END;
