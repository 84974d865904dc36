# The jars of the test broker, fetched once by Maven. The sanitized build shares them with the other one.
KAFKA_LIB := $(abspath $(patsubst %/san,%,$(BUILD))/kafka-lib)
export KAFKA_LIB

# Maven Central answers "too many requests" or drops a connection now and then: three attempts.
$(KAFKA_LIB)/.complete: tests/pom.xml
	@mkdir -p $(@D)
	@rm -f $(@D)/*.jar
	@for try in 1 2 3; do \
	    echo "mvn: jars of the test broker -> $(@D) (attempt $$try)"; \
	    if mvn -q -B -f tests/pom.xml dependency:copy-dependencies -DincludeScope=runtime \
	        -DoutputDirectory=$(@D) > $(@D)/mvn.log 2>&1; then touch $@; exit 0; fi; \
	    sleep $$((try * 3)); \
	done; cat $(@D)/mvn.log >&2; echo "The test broker could not be fetched: see above." >&2; exit 1

.PHONY: kafka-lib
kafka-lib: $(KAFKA_LIB)/.complete
