BEGIN TRANSACTION;
CREATE TABLE "Bouncer_Accounts" (
	account VARCHAR(50) NOT NULL, 
	paused_ts TIMESTAMP, 
	paused_by VARCHAR(100), 
	paused_reason VARCHAR(255), 
	breaker_state VARCHAR(10) DEFAULT 'closed' NOT NULL, 
	breaker_failures INTEGER DEFAULT 0 NOT NULL, 
	breaker_changed_ts TIMESTAMP, 
	breaker_probe VARCHAR(100), 
	credits INTEGER, 
	credits_ts TIMESTAMP, 
	upload_history VARCHAR(32), 
	uploads INTEGER DEFAULT 0 NOT NULL, 
	PRIMARY KEY (account)
);
INSERT INTO "Bouncer_Accounts" VALUES('default',NULL,NULL,NULL,'closed',0,NULL,NULL,NULL,NULL,NULL,2);
CREATE TABLE "Bouncer_Alerts" (
	account VARCHAR(50) NOT NULL, 
	alert VARCHAR(50) NOT NULL, 
	began_ts TIMESTAMP, 
	ended_ts TIMESTAMP, 
	crossed_ts TIMESTAMP, 
	message VARCHAR(255), 
	began_told BOOLEAN DEFAULT 0 NOT NULL, 
	ended_told BOOLEAN DEFAULT 0 NOT NULL, 
	PRIMARY KEY (account, alert)
);
CREATE TABLE "Bouncer_Batches" (
	id INTEGER NOT NULL, 
	batch_id VARCHAR(50), 
	user_id INTEGER NOT NULL, 
	request_id INTEGER NOT NULL, 
	status VARCHAR(11) DEFAULT 'queued' NOT NULL, 
	quantity INTEGER NOT NULL, 
	duplicates INTEGER DEFAULT 0 NOT NULL, 
	created_ts TIMESTAMP DEFAULT CURRENT_TIMESTAMP NOT NULL, 
	updated_ts TIMESTAMP DEFAULT CURRENT_TIMESTAMP NOT NULL, 
	completed_ts TIMESTAMP, 
	error_message TEXT, 
	retry_count INTEGER DEFAULT 0 NOT NULL, 
	account VARCHAR(50) DEFAULT 'default' NOT NULL, 
	priority INTEGER DEFAULT 50 NOT NULL, 
	owner VARCHAR(100), 
	heartbeat_ts TIMESTAMP, 
	slot_lease VARCHAR(36), 
	upload_begun_ts TIMESTAMP, 
	uploaded_ts TIMESTAMP, 
	progress_ts TIMESTAMP, 
	finish_requested_ts TIMESTAMP, 
	verified_ts TIMESTAMP, 
	held_ts TIMESTAMP, 
	split_from INTEGER, 
	processed INTEGER DEFAULT 0 NOT NULL, 
	credits INTEGER, 
	missing INTEGER DEFAULT 0 NOT NULL, 
	unmatched INTEGER DEFAULT 0 NOT NULL, 
	ambiguous_uploads INTEGER DEFAULT 0 NOT NULL, 
	ambiguous_addresses INTEGER DEFAULT 0 NOT NULL, 
	expected_credits INTEGER, 
	realtime BOOLEAN DEFAULT 0 NOT NULL, 
	unanswered INTEGER DEFAULT 0 NOT NULL, 
	callback_token VARCHAR(64), 
	callback_ts TIMESTAMP, 
	callback_ids VARCHAR(255), 
	layer VARCHAR(5) DEFAULT 'basic' NOT NULL, 
	unreadable_ts TIMESTAMP, 
	lost_addresses INTEGER DEFAULT 0 NOT NULL, 
	unknown_before INTEGER DEFAULT 0 NOT NULL, 
	unknown_resolved INTEGER DEFAULT 0 NOT NULL, 
	PRIMARY KEY (id), 
	UNIQUE (batch_id), 
	FOREIGN KEY(user_id) REFERENCES "Users" (id) ON DELETE CASCADE, 
	FOREIGN KEY(request_id) REFERENCES "Requests" (request_id) ON DELETE CASCADE, 
	UNIQUE (callback_token)
);
INSERT INTO "Bouncer_Batches" VALUES(1,'bouncer-1',1,1,'completed',3,0,'2026-11-28 06:18:20','2026-11-28 06:18:20','2026-11-28 06:18:20',NULL,3,'default',50,NULL,NULL,NULL,'2026-11-28 06:18:20','2026-11-28 06:18:20','2026-11-28 06:18:20',NULL,'2026-11-28 06:18:20',NULL,NULL,3,3,0,0,0,0,3,0,0,NULL,NULL,NULL,'basic',NULL,0,0,0);
INSERT INTO "Bouncer_Batches" VALUES(2,NULL,2,2,'failed',3,0,'2026-11-28 06:18:20','2026-11-28 06:18:20','2026-11-28 06:18:20','Bouncer refused them',1,'default',50,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0,NULL,0,0,0,0,0,0,0,NULL,NULL,NULL,'basic',NULL,0,0,0);
INSERT INTO "Bouncer_Batches" VALUES(3,'bouncer-3',3,3,'processing',3,0,'2026-11-28 06:18:20','2026-11-28 06:18:20',NULL,NULL,2,'default',50,'worker','2026-11-28 06:18:20',NULL,'2026-11-28 06:18:20','2026-11-28 06:18:20','2026-11-28 06:18:20',NULL,NULL,NULL,NULL,0,NULL,0,0,0,0,NULL,0,0,NULL,NULL,NULL,'basic',NULL,0,0,0);
INSERT INTO "Bouncer_Batches" VALUES(4,NULL,4,4,'queued',3,0,'2026-11-28 06:18:20','2026-11-28 06:18:20',NULL,NULL,0,'default',50,NULL,NULL,NULL,'2026-11-28 06:18:20',NULL,NULL,NULL,NULL,NULL,NULL,0,NULL,0,0,0,0,NULL,0,0,NULL,NULL,NULL,'basic',NULL,0,0,0);
CREATE TABLE "Bouncer_Calls" (
	window_start_ts TIMESTAMP DEFAULT CURRENT_TIMESTAMP NOT NULL, 
	account VARCHAR(50) NOT NULL, 
	call VARCHAR(20) NOT NULL, 
	outcome VARCHAR(50) NOT NULL, 
	up_to_ms INTEGER NOT NULL, 
	count INTEGER DEFAULT 0 NOT NULL, 
	slowest_ms INTEGER DEFAULT 0 NOT NULL, 
	PRIMARY KEY (window_start_ts, account, call, outcome, up_to_ms)
);
CREATE TABLE "Bouncer_Database" (
	id VARCHAR(32) NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO "Bouncer_Database" VALUES('69f4b3c672e34864b1da4788c550cb32');
CREATE TABLE "Bouncer_Dead_Letter_Queue" (
	id INTEGER NOT NULL, 
	batch_id INTEGER NOT NULL, 
	user_id INTEGER NOT NULL, 
	request_id INTEGER NOT NULL, 
	error_message TEXT NOT NULL, 
	failed_ts TIMESTAMP DEFAULT CURRENT_TIMESTAMP NOT NULL, 
	reviewed BOOLEAN DEFAULT 0, 
	PRIMARY KEY (id), 
	FOREIGN KEY(user_id) REFERENCES "Users" (id) ON DELETE CASCADE, 
	FOREIGN KEY(request_id) REFERENCES "Requests" (request_id) ON DELETE CASCADE
);
INSERT INTO "Bouncer_Dead_Letter_Queue" VALUES(1,2,2,2,'Bouncer refused them','2026-11-28 06:18:20',0);
CREATE TABLE "Bouncer_Health_Metrics" (
	id INTEGER NOT NULL, 
	metric_name VARCHAR(100) NOT NULL, 
	metric_value INTEGER NOT NULL, 
	recorded_ts TIMESTAMP DEFAULT CURRENT_TIMESTAMP NOT NULL, 
	PRIMARY KEY (id)
);
CREATE TABLE "Bouncer_Locks" (
	name VARCHAR(20) NOT NULL, 
	PRIMARY KEY (name)
);
INSERT INTO "Bouncer_Locks" VALUES('claim');
CREATE TABLE "Bouncer_Queue" (
	queue_id INTEGER NOT NULL, 
	global_id INTEGER NOT NULL, 
	user_id INTEGER NOT NULL, 
	request_id INTEGER NOT NULL, 
	batch_id INTEGER, 
	status VARCHAR(9) DEFAULT 'queued' NOT NULL, 
	priority INTEGER DEFAULT 0 NOT NULL, 
	domain_hash VARCHAR(64), 
	created_ts TIMESTAMP DEFAULT CURRENT_TIMESTAMP NOT NULL, 
	assigned_ts TIMESTAMP, 
	completed_ts TIMESTAMP, 
	attempts INTEGER DEFAULT 0 NOT NULL, 
	reused BOOLEAN DEFAULT 0 NOT NULL, 
	error_message TEXT, 
	layer VARCHAR(5) DEFAULT 'basic' NOT NULL, 
	verdict_after_ts TIMESTAMP, 
	PRIMARY KEY (queue_id), 
	FOREIGN KEY(global_id) REFERENCES "Contacts_Global" (global_id) ON DELETE CASCADE, 
	FOREIGN KEY(user_id) REFERENCES "Users" (id) ON DELETE CASCADE, 
	FOREIGN KEY(request_id) REFERENCES "Requests" (request_id) ON DELETE CASCADE, 
	FOREIGN KEY(batch_id) REFERENCES "Bouncer_Batches" (id) ON DELETE SET NULL
);
INSERT INTO "Bouncer_Queue" VALUES(1,1,1,1,1,'completed',50,'13c51305c1cf2666','2026-11-28 06:18:20','2026-11-28 06:18:20','2026-11-28 06:18:20',0,0,NULL,'basic',NULL);
INSERT INTO "Bouncer_Queue" VALUES(2,2,1,1,1,'completed',50,'13c51305c1cf2666','2026-11-28 06:18:20','2026-11-28 06:18:20','2026-11-28 06:18:20',0,0,NULL,'basic',NULL);
INSERT INTO "Bouncer_Queue" VALUES(3,3,1,1,1,'completed',50,'13c51305c1cf2666','2026-11-28 06:18:20','2026-11-28 06:18:20','2026-11-28 06:18:20',0,0,NULL,'basic',NULL);
INSERT INTO "Bouncer_Queue" VALUES(4,4,2,2,2,'failed',50,'13c51305c1cf2666','2026-11-28 06:18:20','2026-11-28 06:18:20','2026-11-28 06:18:20',1,0,'Bouncer refused them','basic',NULL);
INSERT INTO "Bouncer_Queue" VALUES(5,5,2,2,2,'failed',50,'13c51305c1cf2666','2026-11-28 06:18:20','2026-11-28 06:18:20','2026-11-28 06:18:20',1,0,'Bouncer refused them','basic',NULL);
INSERT INTO "Bouncer_Queue" VALUES(6,6,2,2,2,'failed',50,'13c51305c1cf2666','2026-11-28 06:18:20','2026-11-28 06:18:20','2026-11-28 06:18:20',1,0,'Bouncer refused them','basic',NULL);
INSERT INTO "Bouncer_Queue" VALUES(7,7,3,3,3,'assigned',50,'13c51305c1cf2666','2026-11-28 06:18:20','2026-11-28 06:18:20',NULL,0,0,NULL,'basic',NULL);
INSERT INTO "Bouncer_Queue" VALUES(8,8,3,3,3,'assigned',50,'13c51305c1cf2666','2026-11-28 06:18:20','2026-11-28 06:18:20',NULL,0,0,NULL,'basic',NULL);
INSERT INTO "Bouncer_Queue" VALUES(9,9,3,3,3,'assigned',50,'13c51305c1cf2666','2026-11-28 06:18:20','2026-11-28 06:18:20',NULL,0,0,NULL,'basic',NULL);
INSERT INTO "Bouncer_Queue" VALUES(10,10,4,4,4,'assigned',50,'13c51305c1cf2666','2026-11-28 06:18:20','2026-11-28 06:18:20',NULL,0,0,NULL,'basic',NULL);
INSERT INTO "Bouncer_Queue" VALUES(11,11,4,4,4,'assigned',50,'13c51305c1cf2666','2026-11-28 06:18:20','2026-11-28 06:18:20',NULL,0,0,NULL,'basic',NULL);
INSERT INTO "Bouncer_Queue" VALUES(12,12,4,4,4,'assigned',50,'13c51305c1cf2666','2026-11-28 06:18:20','2026-11-28 06:18:20',NULL,0,0,NULL,'basic',NULL);
INSERT INTO "Bouncer_Queue" VALUES(13,13,5,5,NULL,'queued',50,NULL,'2026-11-28 06:18:20',NULL,NULL,0,0,NULL,'basic',NULL);
INSERT INTO "Bouncer_Queue" VALUES(14,14,5,5,NULL,'queued',50,NULL,'2026-11-28 06:18:20',NULL,NULL,0,0,NULL,'basic',NULL);
INSERT INTO "Bouncer_Queue" VALUES(15,15,5,5,NULL,'queued',50,NULL,'2026-11-28 06:18:20',NULL,NULL,0,0,NULL,'basic',NULL);
CREATE TABLE "Bouncer_Rate_Limit" (
	id INTEGER NOT NULL, 
	request_count INTEGER DEFAULT 0 NOT NULL, 
	window_start_ts TIMESTAMP DEFAULT CURRENT_TIMESTAMP NOT NULL, 
	window_end_ts TIMESTAMP DEFAULT CURRENT_TIMESTAMP NOT NULL, 
	account VARCHAR(50) DEFAULT 'default' NOT NULL, 
	PRIMARY KEY (id), 
	CONSTRAINT uq_account_window UNIQUE (account, window_start_ts)
);
CREATE TABLE "Bouncer_Results" (
	batch_id INTEGER NOT NULL, 
	global_id INTEGER NOT NULL, 
	bouncer_status VARCHAR(50) NOT NULL, 
	bouncer_reason VARCHAR(100), 
	domain_info JSON, 
	account_info JSON, 
	dns_info JSON, 
	provider VARCHAR(100), 
	score INTEGER, 
	toxic VARCHAR(20), 
	toxicity INTEGER, 
	processed_ts TIMESTAMP DEFAULT CURRENT_TIMESTAMP NOT NULL, 
	retry_after_ts TIMESTAMP, 
	did_you_mean VARCHAR(320), 
	PRIMARY KEY (batch_id, global_id), 
	FOREIGN KEY(batch_id) REFERENCES "Bouncer_Batches" (id) ON DELETE CASCADE, 
	FOREIGN KEY(global_id) REFERENCES "Contacts_Global" (global_id) ON DELETE CASCADE
);
INSERT INTO "Bouncer_Results" VALUES(1,1,'deliverable',NULL,'{"acceptAll":"no"}',NULL,NULL,NULL,80,NULL,NULL,'2026-11-28 06:18:20',NULL,NULL);
INSERT INTO "Bouncer_Results" VALUES(1,2,'deliverable',NULL,'{"acceptAll":"no"}',NULL,NULL,NULL,80,NULL,NULL,'2026-11-28 06:18:20',NULL,NULL);
INSERT INTO "Bouncer_Results" VALUES(1,3,'deliverable',NULL,'{"acceptAll":"no"}',NULL,NULL,NULL,80,NULL,NULL,'2026-11-28 06:18:20',NULL,NULL);
CREATE TABLE "Bouncer_Reverifications" (
	month VARCHAR(7) NOT NULL, 
	request_id INTEGER, 
	contacts INTEGER DEFAULT 0 NOT NULL, 
	PRIMARY KEY (month)
);
CREATE TABLE "Bouncer_Second_Chances" (
	queue_id INTEGER NOT NULL, 
	chances INTEGER DEFAULT 0 NOT NULL, 
	try_again_ts TIMESTAMP, 
	PRIMARY KEY (queue_id), 
	FOREIGN KEY(queue_id) REFERENCES "Bouncer_Queue" (queue_id) ON DELETE CASCADE
);
CREATE TABLE "Contacts_Global" (
	global_id INTEGER NOT NULL, 
	email VARCHAR(320) NOT NULL, 
	bouncer_status VARCHAR(50), 
	bouncer_reason VARCHAR(100), 
	bouncer_score INTEGER, 
	bouncer_verified_ts TIMESTAMP, 
	bouncer_address_key BLOB, 
	bouncer_batch_id INTEGER, 
	bouncer_deep_ts TIMESTAMP, 
	PRIMARY KEY (global_id)
);
INSERT INTO "Contacts_Global" VALUES(1,'settled.0@example.com','deliverable',NULL,80,'2026-11-28 06:18:20',X'7D0579FA93DF58FD77FDD1FA878D069C',1,NULL);
INSERT INTO "Contacts_Global" VALUES(2,'settled.1@example.com','deliverable',NULL,80,'2026-11-28 06:18:20',X'BC7020E9887E657E960C613A1F53D5AF',1,NULL);
INSERT INTO "Contacts_Global" VALUES(3,'settled.2@example.com','deliverable',NULL,80,'2026-11-28 06:18:20',X'BB7814FB8E266AB41995A2153DB2AD00',1,NULL);
INSERT INTO "Contacts_Global" VALUES(4,'failed.0@example.com',NULL,NULL,NULL,NULL,X'90548859AD0359CB11B7D81D5D951CC3',NULL,NULL);
INSERT INTO "Contacts_Global" VALUES(5,'failed.1@example.com',NULL,NULL,NULL,NULL,X'77A8FADB737CE6FA8BFC2E9F34DBAD82',NULL,NULL);
INSERT INTO "Contacts_Global" VALUES(6,'failed.2@example.com',NULL,NULL,NULL,NULL,X'597EA2A32E539D8874F463E4E1B016C6',NULL,NULL);
INSERT INTO "Contacts_Global" VALUES(7,'flying.0@example.com',NULL,NULL,NULL,NULL,X'F8F96B533E523AEA97C14E5A188E78E5',NULL,NULL);
INSERT INTO "Contacts_Global" VALUES(8,'flying.1@example.com',NULL,NULL,NULL,NULL,X'965975D7761AEF4B927A1AB2DEA4AA25',NULL,NULL);
INSERT INTO "Contacts_Global" VALUES(9,'flying.2@example.com',NULL,NULL,NULL,NULL,X'8DE34BC53C4C7B926340DB12090FF5AC',NULL,NULL);
INSERT INTO "Contacts_Global" VALUES(10,'lost.0@example.com',NULL,NULL,NULL,NULL,X'2E27D5F9C58B7B781354BF21999BF854',NULL,NULL);
INSERT INTO "Contacts_Global" VALUES(11,'lost.1@example.com',NULL,NULL,NULL,NULL,X'A1F72C807ACB6FE99FBBF94880F51BA8',NULL,NULL);
INSERT INTO "Contacts_Global" VALUES(12,'lost.2@example.com',NULL,NULL,NULL,NULL,X'A9C2FE0219D2979009FC78DC7BB54F55',NULL,NULL);
INSERT INTO "Contacts_Global" VALUES(13,'waiting.0@example.com',NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "Contacts_Global" VALUES(14,'waiting.1@example.com',NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "Contacts_Global" VALUES(15,'waiting.2@example.com',NULL,NULL,NULL,NULL,NULL,NULL,NULL);
CREATE TABLE "Requests" (
	request_id INTEGER NOT NULL, 
	user_id INTEGER, 
	name VARCHAR(255), 
	created_ts TIMESTAMP DEFAULT CURRENT_TIMESTAMP, 
	bouncer_max_credits INTEGER, 
	bouncer_queued INTEGER, 
	bouncer_in_flight INTEGER, 
	bouncer_done INTEGER, 
	bouncer_failed INTEGER, 
	bouncer_counted_ts TIMESTAMP, 
	bouncer_completed_ts TIMESTAMP, 
	bouncer_announced_ts TIMESTAMP, 
	bouncer_cancelled INTEGER, 
	bouncer_cancelled_ts TIMESTAMP, 
	bouncer_cancelled_by VARCHAR(100), 
	bouncer_cancelled_reason VARCHAR(255), 
	bouncer_deep_of INTEGER, 
	PRIMARY KEY (request_id), 
	FOREIGN KEY(user_id) REFERENCES "Users" (id) ON DELETE CASCADE
);
INSERT INTO "Requests" VALUES(1,1,'leads','2026-11-28 06:18:20',NULL,NULL,NULL,NULL,NULL,'2026-11-28 06:18:20',NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "Requests" VALUES(2,2,'leads','2026-11-28 06:18:20',NULL,NULL,NULL,NULL,NULL,'2026-11-28 06:18:20',NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "Requests" VALUES(3,3,'leads','2026-11-28 06:18:20',NULL,NULL,NULL,NULL,NULL,'2026-11-28 06:18:20',NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "Requests" VALUES(4,4,'leads','2026-11-28 06:18:20',NULL,NULL,NULL,NULL,NULL,'2026-11-28 06:18:20',NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "Requests" VALUES(5,5,'leads','2026-11-28 06:18:20',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
CREATE TABLE "Users" (
	id INTEGER NOT NULL, 
	email VARCHAR(320), 
	PRIMARY KEY (id)
);
INSERT INTO "Users" VALUES(1,'me@example.com');
INSERT INTO "Users" VALUES(2,'me@example.com');
INSERT INTO "Users" VALUES(3,'me@example.com');
INSERT INTO "Users" VALUES(4,'me@example.com');
INSERT INTO "Users" VALUES(5,'me@example.com');
CREATE TABLE bouncer_schema_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT bouncer_schema_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "bouncer_schema_version" VALUES('0001');
CREATE INDEX requests_idx_bouncer_deep_of ON "Requests" (bouncer_deep_of);
CREATE INDEX requests_idx_bouncer_open ON "Requests" (bouncer_announced_ts, bouncer_counted_ts);
CREATE INDEX requests_user_id ON "Requests" (user_id);
CREATE INDEX requests_idx_bouncer_cancelled ON "Requests" (bouncer_cancelled_ts);
CREATE INDEX contacts_global_idx_bouncer_address_key ON "Contacts_Global" (bouncer_address_key);
CREATE INDEX bouncer_batches_idx_completed ON "Bouncer_Batches" (completed_ts);
CREATE INDEX bouncer_batches_idx_status ON "Bouncer_Batches" (status);
CREATE INDEX bouncer_batches_idx_created ON "Bouncer_Batches" (created_ts);
CREATE INDEX bouncer_batches_user_id ON "Bouncer_Batches" (user_id);
CREATE INDEX bouncer_batches_idx_account_status ON "Bouncer_Batches" (account, status);
CREATE INDEX bouncer_batches_request_id ON "Bouncer_Batches" (request_id);
CREATE INDEX bouncer_queue_idx_status_priority ON "Bouncer_Queue" (status, priority DESC);
CREATE INDEX bouncer_queue_idx_domain_hash ON "Bouncer_Queue" (domain_hash);
CREATE INDEX bouncer_queue_idx_request_status ON "Bouncer_Queue" (request_id, status);
CREATE INDEX bouncer_queue_idx_claim ON "Bouncer_Queue" (status, layer, priority, request_id, queue_id);
CREATE INDEX bouncer_queue_user_id ON "Bouncer_Queue" (user_id);
CREATE INDEX bouncer_queue_batch_id ON "Bouncer_Queue" (batch_id);
CREATE INDEX bouncer_queue_idx_created ON "Bouncer_Queue" (created_ts);
CREATE INDEX bouncer_queue_global_id ON "Bouncer_Queue" (global_id);
CREATE INDEX bouncer_second_chances_idx_try_again ON "Bouncer_Second_Chances" (try_again_ts);
CREATE INDEX bouncer_rate_limit_idx_window ON "Bouncer_Rate_Limit" (window_start_ts, window_end_ts);
CREATE INDEX bouncer_results_global_id ON "Bouncer_Results" (global_id);
CREATE INDEX bouncer_dead_letter_queue_idx_reviewed ON "Bouncer_Dead_Letter_Queue" (reviewed);
CREATE INDEX bouncer_dead_letter_queue_request_id ON "Bouncer_Dead_Letter_Queue" (request_id);
CREATE INDEX bouncer_dead_letter_queue_idx_failed_ts ON "Bouncer_Dead_Letter_Queue" (failed_ts);
CREATE INDEX bouncer_dead_letter_queue_user_id ON "Bouncer_Dead_Letter_Queue" (user_id);
CREATE INDEX bouncer_health_metrics_idx_metric_time ON "Bouncer_Health_Metrics" (metric_name, recorded_ts);
COMMIT;
