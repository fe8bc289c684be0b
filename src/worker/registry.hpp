/*
 * registry.hpp
 *	  Who works for which database: the operations on SharedState's entries.
 *
 * NOTES
 *	  Every function takes the lock itself and needs no transaction. None raises.
 */
#pragma once

#include "cdc.hpp"

#include "base/shmem.hpp"

namespace cdc::worker
{

/* cdc_<database oid> */
NameData slot_name_for(Oid database_oid);

/* The database a slot name stands for; InvalidOid when it is not one of ours. */
Oid database_of_slot(const char *slot_name);

/* The entry of a database, or NULL. Entries are never given to another database while it has a slot. */
DatabaseEntry *registry_find(Oid database_oid);

/* The entry of a database, assigned when there was none; NULL when all are taken. */
DatabaseEntry *registry_assign(Oid database_oid);

/*
 * Frees the entry when nothing runs, nothing is asked, and nobody was given it lately (who was, may be about
 * to use it). The caller has seen that there is no slot.
 */
void registry_release_unused(DatabaseEntry *entry);

/*
 * Whether there are more free worker slots than the started capture jobs will take; `reserved` of those that have no process are
 * not free.
 */
bool registry_has_room_beside_capture(int reserved);

/* Sets the latch of the launcher, the writer or the decoder, whoever is there. */
void registry_wake_launcher();
void registry_wake_writer(DatabaseEntry *entry);
void registry_wake_decoder(DatabaseEntry *entry);

/*
 * When the current transaction commits, (re)start the capture job of this database, or stop it
 * cleanly. Does nothing on abort. The last call in a transaction counts.
 */
void registry_start_at_commit();
void registry_stop_at_commit();

/* The same for cleanup: have a worker look at the job row, run the job now, stop its run. */
void registry_cleanup_look_at_commit();
void registry_cleanup_run_at_commit();
void registry_cleanup_stop_at_commit();

/* The same at once. */
void registry_start(DatabaseEntry *entry);

/* The same, unless another session waits for a Scan or a slot, or holds the database. */
void registry_start_unless_asked(DatabaseEntry *entry);

/* Starts the job where nothing runs, nothing is asked and nobody holds the database. */
void registry_start_if_idle(DatabaseEntry *entry);
void registry_stop(DatabaseEntry *entry);

/*
 * By the writer, which has found that its job is not started, or has done what it was started for, and ends.
 * Somebody may have started the job since it attached, which it cannot have seen: then another writer comes.
 */
void registry_stop_by_writer(DatabaseEntry *entry);

/* No worker waits any longer for a time that has gone far away. */
void registry_clock_set_back(DatabaseEntry *entry);

/*
 * Asks for a Scan or CreateSlot run and returns its id, 0 when somebody works there already.
 * The request is withdrawn when the requester goes away.
 */
uint64 registry_request(DatabaseEntry *entry, WorkerMode mode, const ScanParameters *scan);

/* Ends the request, from the worker's side: with the error, or NULL for success. */
void registry_finish_request(DatabaseEntry *entry, const ErrorData *error);

/* Withdraws it, from the requester's side, and ends its worker. */
void registry_cancel_request(DatabaseEntry *entry);

/* Ends the workers of a database by signal, wherever they are. */
void registry_terminate(DatabaseEntry *entry);

/*
 * Forbids, or allows again, workers for a database; set, running ones are told to end. One session at a time: false
 * when another has it.
 */
bool registry_hold(DatabaseEntry *entry);
void registry_unhold(DatabaseEntry *entry);

/*
 * Called by a worker when it starts: enters itself and arranges to be taken out at process exit.
 * registry_attach_writer returns what it is to do, Stopped when nobody wants it any more; the mode in
 * the entry may change while it runs. The other two return false in that case.
 */
WorkerMode registry_attach_writer(DatabaseEntry *entry);
bool registry_attach_slot_creator(DatabaseEntry *entry);
bool registry_attach_decoder(DatabaseEntry *entry);

/*
 * For the slot creator: whether there is a slot that no committed identity row speaks of yet. When it ends like that,
 * however it does, a worker is started, which drops a slot that is nobody's.
 */
void registry_slot_unclaimed(bool unclaimed);

/*
 * For a worker that has just connected: what the database's owner has set for it (ALTER DATABASE ...
 * SET) must neither stop capture nor change who we are.
 */
void settings_of_our_own();

/* Completes the process title: cdc capture worker for database "x". Needs a database connection. */
void show_database_in_process_list();

/* The exit that follows is wanted: no back-off. */
void registry_writer_exits_cleanly();

/* The same, and the started job goes on at this time, unless it is started again before. */
void registry_writer_sleeps(TimestampTz until);

/*
 * The state of an entry as others see it: WaitingForLock, too, when its worker has been waiting for a lock of the server's for a
 * second, which it cannot say itself.
 */
CaptureState capture_state_seen(const DatabaseEntry &entry);

/* As pg_stat_cdc shows it. */
const char *capture_state_name(CaptureState state);

void registry_set_state(DatabaseEntry *entry, CaptureState state);

/* Remembers the error for pg_stat_cdc. */
void registry_record_error(DatabaseEntry *entry, const ErrorData &error);

/* What was remembered; code 0: nothing. */
struct ReportedError
{
	int code;
	char message[kErrorMessageBytes];
	char detail[kErrorMessageBytes];
	char hint[kErrorMessageBytes];
};

ReportedError registry_last_error(const DatabaseEntry *entry);

/* Nothing will help but the administrator: no restart until sp_cdc_start_job. */
void registry_needs_action(DatabaseEntry *entry);

/* A batch was committed, or there was nothing left to capture: the back-off starts from the beginning again. */
void registry_note_success(DatabaseEntry *entry);

/* True while a worker is attached or on its way. */
bool registry_is_running(const DatabaseEntry &entry);

} // namespace cdc::worker
