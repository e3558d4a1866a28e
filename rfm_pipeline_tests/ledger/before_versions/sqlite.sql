-- the ledger's tables as programs made them before versions were kept; never to be changed
CREATE TABLE IF NOT EXISTS campaigns (
  week DATE NOT NULL,
  listed INTEGER NOT NULL,
  sealed_at DATETIME NOT NULL,
  PRIMARY KEY (week)
);

CREATE TABLE IF NOT EXISTS landings (
  position INTEGER NOT NULL,
  content_hash VARCHAR NOT NULL,
  file_name VARCHAR NOT NULL,
  PRIMARY KEY (position)
);

CREATE TABLE IF NOT EXISTS ledger_settings (
  name VARCHAR NOT NULL,
  value VARCHAR NOT NULL,
  PRIMARY KEY (name)
);

CREATE TABLE IF NOT EXISTS tombstones (
  digest VARCHAR NOT NULL,
  forgotten_at DATETIME NOT NULL,
  PRIMARY KEY (digest)
);

CREATE TABLE IF NOT EXISTS assignments (
  week DATE NOT NULL,
  customer_id VARCHAR NOT NULL,
  silent_since DATETIME NOT NULL,
  churn_class VARCHAR NOT NULL,
  arm VARCHAR NOT NULL,
  priority INTEGER NOT NULL,
  favourite_sku VARCHAR,
  favourite_product VARCHAR,
  recency_days INTEGER NOT NULL,
  frequency INTEGER NOT NULL,
  monetary VARCHAR NOT NULL,
  offer VARCHAR,
  coupon_code VARCHAR,
  sms VARCHAR,
  email_subject VARCHAR,
  email_body VARCHAR,
  wecom_text VARCHAR,
  PRIMARY KEY (week, customer_id),
  CONSTRAINT one_list_a_silence UNIQUE (customer_id, silent_since),
  FOREIGN KEY(week) REFERENCES campaigns (week),
  UNIQUE (coupon_code)
);

CREATE TABLE IF NOT EXISTS tag_actions (
  week DATE NOT NULL,
  customer_id VARCHAR NOT NULL,
  tag VARCHAR NOT NULL,
  action VARCHAR NOT NULL,
  churn_class VARCHAR NOT NULL,
  reason VARCHAR NOT NULL,
  status VARCHAR NOT NULL,
  sink VARCHAR NOT NULL,
  error VARCHAR,
  requested_at DATETIME NOT NULL,
  finished_at DATETIME,
  PRIMARY KEY (week, customer_id, tag),
  FOREIGN KEY(week) REFERENCES campaigns (week)
);
