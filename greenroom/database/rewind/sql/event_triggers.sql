CREATE EVENT TRIGGER greenroom_changed ON ddl_command_end EXECUTE FUNCTION greenroom.touch_schema();
CREATE EVENT TRIGGER greenroom_dropped ON sql_drop EXECUTE FUNCTION greenroom.touch_schema();
ALTER EVENT TRIGGER greenroom_changed ENABLE ALWAYS;
ALTER EVENT TRIGGER greenroom_dropped ENABLE ALWAYS;
