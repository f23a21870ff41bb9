--liquibase formatted sql logicalFilePath:log/fs.sql

--property name:tbl value:tt

--changeset "Bob Smith":"id with space" runOnChange:true splitStatements:false stripComments:false
--preconditions onFail:MARK_RAN onError:HALT
--precondition-sql-check expectedResult:0 select count(*) from x
--precondition-table-exists table:foo
--validCheckSum: 9:abc
select '${tbl}';
/* liquibase rollback
drop table a;
drop table b;
*/

--changeset alice:2 dbms:postgresql,h2 context:a,b labels:"l1 or l2" runAlways:TRUE
--comment: hello  there 
create table x (
  -- inner
  id int
);
--ignoreLines:2
garbage
garbage
select 2;
--rollback drop table x;
--rollback select 1;
--ignoreLines:start
zzz
--ignoreLines:end

  --  ChangeSet carol:3 endDelimiter:; rollbackEndDelimiter:/ rollbackSplitStatements:false failOnError:false runInTransaction:false
select 3

--rollback not required
--changeset dave:4
select 4
/
