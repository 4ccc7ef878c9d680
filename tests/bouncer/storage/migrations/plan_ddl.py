"""The plan's tables, word for word but for comments and DROP statements, and an application that they refer to."""

APPLICATION = (
    """
    CREATE TABLE Users (
        `id` int AUTO_INCREMENT NOT NULL,
        `email` varchar(320),
        PRIMARY KEY (`id`)
    ) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci
    """,
    """
    CREATE TABLE Requests (
        `request_id` int AUTO_INCREMENT NOT NULL,
        `user_id` int NULL,
        `name` varchar(255),
        `created_ts` TIMESTAMP NULL DEFAULT CURRENT_TIMESTAMP,
        PRIMARY KEY (`request_id`)
    ) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci
    """,
    """
    CREATE TABLE Contacts_Global (
        `global_id` int AUTO_INCREMENT NOT NULL,
        `email` varchar(320) NOT NULL,
        PRIMARY KEY (`global_id`)
    ) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci
    """,
)

PLAN = (
    """
    CREATE TABLE Bouncer_Batches (
        `id` int AUTO_INCREMENT NOT NULL,
        `batch_id` varchar(50) NOT NULL,
        `user_id` int NOT NULL,
        `request_id` int NOT NULL,
        `status` enum('queued', 'processing', 'completed', 'failed', 'downloading') NOT NULL DEFAULT 'queued',
        `quantity` int NOT NULL,
        `duplicates` int NOT NULL DEFAULT 0,
        `created_ts` TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
        `updated_ts` TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP,
        `completed_ts` TIMESTAMP NULL,
        `error_message` TEXT,
        `retry_count` int NOT NULL DEFAULT 0,
        PRIMARY KEY (`id`),
        UNIQUE KEY (`batch_id`),
        FOREIGN KEY (`user_id`) REFERENCES Users(`id`) ON DELETE CASCADE,
        FOREIGN KEY (`request_id`) REFERENCES Requests(`request_id`) ON DELETE CASCADE,
        INDEX idx_status (`status`),
        INDEX idx_created (`created_ts`)
    ) ENGINE=InnoDB DEFAULT CHARSET=utf8mb3 COLLATE=utf8mb3_unicode_ci
    """,
    """
    CREATE TABLE Bouncer_Queue (
        `queue_id` int AUTO_INCREMENT NOT NULL,
        `global_id` int NOT NULL,
        `user_id` int NOT NULL,
        `request_id` int NOT NULL,
        `batch_id` int NULL,
        `status` enum('queued', 'assigned', 'completed', 'failed') NOT NULL DEFAULT 'queued',
        `priority` int NOT NULL DEFAULT 0,
        `domain_hash` varchar(64),
        `created_ts` TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
        `assigned_ts` TIMESTAMP NULL,
        `completed_ts` TIMESTAMP NULL,
        PRIMARY KEY (`queue_id`),
        FOREIGN KEY (`global_id`) REFERENCES Contacts_Global(`global_id`) ON DELETE CASCADE,
        FOREIGN KEY (`user_id`) REFERENCES Users(`id`) ON DELETE CASCADE,
        FOREIGN KEY (`request_id`) REFERENCES Requests(`request_id`) ON DELETE CASCADE,
        FOREIGN KEY (`batch_id`) REFERENCES Bouncer_Batches(`id`) ON DELETE SET NULL,
        INDEX idx_status_priority (`status`, `priority` DESC),
        INDEX idx_domain_hash (`domain_hash`),
        INDEX idx_created (`created_ts`)
    ) ENGINE=InnoDB DEFAULT CHARSET=utf8mb3 COLLATE=utf8mb3_unicode_ci
    """,
    """
    CREATE TABLE Bouncer_Rate_Limit (
        `id` int AUTO_INCREMENT NOT NULL,
        `request_count` int NOT NULL DEFAULT 0,
        `window_start_ts` TIMESTAMP NOT NULL,
        `window_end_ts` TIMESTAMP NOT NULL,
        PRIMARY KEY (`id`),
        INDEX idx_window (`window_start_ts`, `window_end_ts`)
    ) ENGINE=InnoDB DEFAULT CHARSET=utf8mb3 COLLATE=utf8mb3_unicode_ci
    """,
    """
    CREATE TABLE Bouncer_Results (
        `batch_id` int NOT NULL,
        `global_id` int NOT NULL,
        `bouncer_status` varchar(50) NOT NULL,
        `bouncer_reason` varchar(100),
        `domain_info` JSON,
        `account_info` JSON,
        `dns_info` JSON,
        `provider` varchar(100),
        `score` int,
        `toxic` varchar(20),
        `toxicity` int,
        `processed_ts` TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
        PRIMARY KEY (`batch_id`, `global_id`),
        FOREIGN KEY (`batch_id`) REFERENCES Bouncer_Batches(`id`) ON DELETE CASCADE,
        FOREIGN KEY (`global_id`) REFERENCES Contacts_Global(`global_id`) ON DELETE CASCADE
    ) ENGINE=InnoDB DEFAULT CHARSET=utf8mb3 COLLATE=utf8mb3_unicode_ci
    """,
    """
    CREATE TABLE Bouncer_Dead_Letter_Queue (
        `id` int AUTO_INCREMENT NOT NULL,
        `batch_id` int NOT NULL,
        `user_id` int NOT NULL,
        `request_id` int NOT NULL,
        `error_message` TEXT NOT NULL,
        `failed_ts` TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
        `reviewed` BOOLEAN DEFAULT FALSE,
        PRIMARY KEY (`id`),
        FOREIGN KEY (`user_id`) REFERENCES Users(`id`) ON DELETE CASCADE,
        FOREIGN KEY (`request_id`) REFERENCES Requests(`request_id`) ON DELETE CASCADE,
        INDEX idx_failed_ts (`failed_ts`),
        INDEX idx_reviewed (`reviewed`)
    ) ENGINE=InnoDB DEFAULT CHARSET=utf8mb3 COLLATE=utf8mb3_unicode_ci
    """,
    """
    CREATE TABLE Bouncer_Health_Metrics (
        `id` int AUTO_INCREMENT NOT NULL,
        `metric_name` varchar(100) NOT NULL,
        `metric_value` int NOT NULL,
        `recorded_ts` TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
        PRIMARY KEY (`id`),
        INDEX idx_metric_time (`metric_name`, `recorded_ts`)
    ) ENGINE=InnoDB DEFAULT CHARSET=utf8mb3 COLLATE=utf8mb3_unicode_ci
    """,
)
