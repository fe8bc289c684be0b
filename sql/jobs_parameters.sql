-- Adding, changing, dropping and showing jobs: every rule on parameters.
\getenv srcdir PG_ABS_SRCDIR
\set include :srcdir '/sql/include/capture.sql'
\set ECHO none
\i :include
\set ECHO all

-- Rights and existence come first.
CREATE ROLE regress_cdc_nobody;
SET ROLE regress_cdc_nobody;
CALL cdc.sp_cdc_add_job('capture');
CALL cdc.sp_cdc_change_job('capture');
CALL cdc.sp_cdc_drop_job('capture');
SELECT * FROM cdc.sp_cdc_help_jobs();
RESET ROLE;
DROP ROLE regress_cdc_nobody;
SELECT count(*) FROM cdc.sp_cdc_help_jobs();
CALL cdc.sp_cdc_change_job();
CALL cdc.sp_cdc_drop_job('cleanup');

-- Both jobs come with the first table. What does not apply to a job reads 0.
CREATE TABLE t (id integer PRIMARY KEY, v text);
CALL cdc.sp_cdc_enable_table('src', 't', NULL);
CREATE VIEW parameters AS
SELECT job_type, maxtrans, maxscans, continuous, pollinginterval, retention, threshold, started, start_time, every, active_window
FROM cdc.sp_cdc_help_jobs();
SELECT * FROM parameters;
SELECT job_type, job_name = 'cdc.' || current_database() || '_' || job_type AS named, job_id IS NOT NULL AS has_id FROM cdc.sp_cdc_help_jobs();

-- One of each.
CALL cdc.sp_cdc_add_job('capture');
CALL cdc.sp_cdc_add_job('Cleanup ');

-- Job types.
CALL cdc.sp_cdc_add_job(NULL);
CALL cdc.sp_cdc_add_job('backup');
CALL cdc.sp_cdc_change_job('');
CALL cdc.sp_cdc_change_job(NULL);
CALL cdc.sp_cdc_drop_job(NULL);
CALL cdc.sp_cdc_drop_job('captures');

-- Ranges, the same for adding and changing.
CREATE PROCEDURE said(statement text) LANGUAGE plpgsql AS $$
DECLARE
	detail text;
BEGIN
	EXECUTE statement;
	RAISE NOTICE 'done';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
	RAISE NOTICE '% % (%)', SQLSTATE, SQLERRM, detail;
END $$;
DO $$
DECLARE
	job text;
	parameter text;
BEGIN
	FOR job, parameter IN VALUES
		('capture', 'maxtrans => 0'), ('capture', 'maxtrans => -1'), ('capture', 'maxscans => 0'),
		('capture', 'pollinginterval => -1'), ('capture', 'pollinginterval => 86400'),
		('capture', 'active_window => ''nonsense'''), ('capture', 'active_window => ''25:00-03:00'''),
		('capture', 'active_window => ''22:00-22:00'''), ('capture', 'active_window => ''22:61-23:00'''),
		('capture', 'active_window => ''2:00-03:000'''),
		('cleanup', 'retention => 0'), ('cleanup', 'retention => 52594801'), ('cleanup', 'threshold => 0'),
		('cleanup', 'threshold => -5'), ('cleanup', 'every => ''0'''), ('cleanup', 'every => ''-1 day'''),
		('cleanup', 'every => ''1 day -1 hour'''), ('cleanup', 'every => ''100 ms'''),
		('cleanup', 'every => ''100 years 5 mons'''), ('cleanup', 'every => ''178000000 years'''), ('cleanup', 'every => ''2000000000 hours''')
	LOOP
		CALL said(format('CALL cdc.sp_cdc_change_job(%L, %s)', job, parameter));
		CALL said(format('CALL cdc.sp_cdc_add_job(%L, %s)', job, parameter));
	END LOOP;
	-- Parameters of the other job fail the whole call.
	FOR job, parameter IN VALUES
		('capture', 'maxtrans => 7, retention => 100'), ('capture', 'threshold => 100'), ('capture', 'start_time => ''03:00'''), ('capture', 'every => ''1 hour'''),
		('cleanup', 'threshold => 7, maxtrans => 5'), ('cleanup', 'maxscans => 5'), ('cleanup', 'continuous => true'), ('cleanup', 'pollinginterval => 0'),
		('cleanup', 'active_window => ''01:00-02:00''')
	LOOP
		CALL said(format('CALL cdc.sp_cdc_change_job(%L, %s)', job, parameter));
		CALL said(format('CALL cdc.sp_cdc_add_job(%L, %s)', job, parameter));
	END LOOP;
END $$;
-- Nothing of it was taken.
SELECT * FROM parameters;

-- NULL leaves a parameter as it is, given or not.
CALL cdc.sp_cdc_change_job('capture', maxtrans => 5, maxscans => 6, pollinginterval => 86399);
CALL cdc.sp_cdc_change_job();
CALL cdc.sp_cdc_change_job('capture', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
CALL cdc.sp_cdc_change_job('cleanup', retention => 1, threshold => 2);
CALL cdc.sp_cdc_change_job('cleanup', start_time => '23:59:59', every => '2 hours');
CALL cdc.sp_cdc_change_job('cleanup', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
SELECT * FROM parameters;
-- The ends of the ranges.
CALL cdc.sp_cdc_change_job('capture', maxtrans => 2147483647, maxscans => 1, pollinginterval => 0);
CALL cdc.sp_cdc_change_job('cleanup', retention => 52594800, threshold => 9223372036854775807, every => '1 month');
SELECT * FROM parameters;

-- Without a loop there is no wait: another value given for it is ignored.
CALL cdc.sp_cdc_change_job(pollinginterval => 10);
CALL cdc.sp_cdc_change_job(continuous => false, pollinginterval => 99);
SELECT continuous, pollinginterval FROM parameters WHERE job_type = 'capture';
CALL cdc.sp_cdc_change_job(continuous => false, pollinginterval => 86400);
-- Who asks for a wait asks for a loop; 0 asks for nothing.
CALL cdc.sp_cdc_change_job(pollinginterval => 0);
SELECT continuous, pollinginterval FROM parameters WHERE job_type = 'capture';
CALL cdc.sp_cdc_change_job(pollinginterval => 3);
SELECT continuous, pollinginterval FROM parameters WHERE job_type = 'capture';
CALL cdc.sp_cdc_change_job(continuous => true);
SELECT continuous, pollinginterval FROM parameters WHERE job_type = 'capture';

-- A window of the day, over midnight too.
CALL cdc.sp_cdc_change_job(active_window => ' 22:30-06:00 '::text);
CALL cdc.sp_cdc_change_job(active_window => '22:30-06:00');
SELECT active_window FROM parameters WHERE job_type = 'capture';
CALL cdc.sp_cdc_change_job(active_window => 'Always');
SELECT active_window FROM parameters WHERE job_type = 'capture';

-- A transaction that is rolled back has changed nothing.
BEGIN;
CALL cdc.sp_cdc_change_job(maxtrans => 77);
CALL cdc.sp_cdc_drop_job('cleanup');
SELECT job_type, maxtrans FROM parameters;
ROLLBACK;
SELECT job_type, maxtrans = 77 AS changed FROM parameters;
BEGIN READ ONLY;
CALL cdc.sp_cdc_change_job(maxtrans => 77);
ROLLBACK;

-- Dropped and added again, with the defaults where nothing is given.
CALL cdc.sp_cdc_drop_job('capture');
CALL cdc.sp_cdc_drop_job('CLEANUP');
SELECT count(*) FROM parameters;
CALL cdc.sp_cdc_drop_job('cleanup');
CALL cdc.sp_cdc_change_job('cleanup', retention => 5);
CALL cdc.sp_cdc_start_job('cleanup');
CALL cdc.sp_cdc_stop_job('cleanup');
CALL cdc.sp_cdc_add_job('capture', continuous => false, pollinginterval => 5);
CALL cdc.sp_cdc_add_job('capture', start_job => false, maxtrans => 10, maxscans => 20, pollinginterval => 30, active_window => '01:00-02:00');
CALL cdc.sp_cdc_add_job('cleanup', false, retention => 40, threshold => 50, start_time => '03:30', every => '12 hours');
SELECT * FROM parameters;
CALL cdc.sp_cdc_drop_job('capture');
CALL cdc.sp_cdc_drop_job('cleanup');
CALL cdc.sp_cdc_add_job('capture', start_job => NULL);
CALL cdc.sp_cdc_add_job('cleanup');
SELECT * FROM parameters;

-- A job that was added before the first table is kept as it is.
CALL cdc.sp_cdc_disable_table('src', 't', 'all');
SELECT count(*) FROM parameters;
CALL cdc.sp_cdc_add_job('cleanup', false, retention => 99);
CALL cdc.sp_cdc_enable_table('src', 't', NULL);
SELECT job_type, maxtrans, retention, started FROM parameters;

-- The owner of the database is the one whom the jobs belong to.
CREATE ROLE regress_cdc_owner;
DO $$ BEGIN EXECUTE format('ALTER DATABASE %I OWNER TO regress_cdc_owner', current_database()); END $$;
SET ROLE regress_cdc_owner;
CALL cdc.sp_cdc_change_job('cleanup', retention => 100);
CALL cdc.sp_cdc_stop_job();
CALL cdc.sp_cdc_start_job();
CALL cdc.sp_cdc_cleanup_change_table('src_t', NULL);
SELECT job_type, retention FROM cdc.sp_cdc_help_jobs();
SELECT request, status FROM cdc.cleanup_runs WHERE request = 'change table';
RESET ROLE;
DO $$ BEGIN EXECUTE format('ALTER DATABASE %I OWNER TO %I', current_database(), current_user); END $$;
DROP ROLE regress_cdc_owner;

-- Not enabled.
SET client_min_messages = warning;
CALL cdc.sp_cdc_disable_db();
RESET client_min_messages;
CALL cdc.sp_cdc_add_job('capture');
CALL cdc.sp_cdc_change_job();
CALL cdc.sp_cdc_drop_job('capture');
CALL cdc.sp_cdc_start_job('cleanup');
SELECT * FROM cdc.sp_cdc_help_jobs();

SET client_min_messages = warning;
DROP SCHEMA src CASCADE;
DROP EXTENSION cdc;
