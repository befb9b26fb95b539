# Compiles CASE twice. With MOE_SHOULD_COMPILE=1 it must compile, so that the case cannot rot; with
# MOE_SHOULD_COMPILE=0 it must fail and the compiler must print the text of its "// expect:" lines.
file(STRINGS ${CASE} expected REGEX "^// expect: ")
if(NOT expected)
  message(FATAL_ERROR "${CASE} has no line \"// expect: <sentence>\"")
endif()

string(REPLACE "|" ";" INCLUDES "${INCLUDES}")
list(TRANSFORM INCLUDES PREPEND "-I")

function(compile should_compile)
  execute_process(
    COMMAND ${COMPILER} ${STANDARD} ${INCLUDES} -fsyntax-only -DMOE_SHOULD_COMPILE=${should_compile}
            ${CASE}
    RESULT_VARIABLE result
    OUTPUT_VARIABLE output
    ERROR_VARIABLE output)
  set(result "${result}" PARENT_SCOPE)
  set(output "${output}" PARENT_SCOPE)
endfunction()

compile(1)
if(NOT result EQUAL 0)
  message(FATAL_ERROR "must compile with MOE_SHOULD_COMPILE=1, but:\n${output}")
endif()

compile(0)
if(result EQUAL 0)
  message(FATAL_ERROR "must not compile with MOE_SHOULD_COMPILE=0, but does")
endif()
foreach(line IN LISTS expected)
  string(REGEX REPLACE "^// expect: " "" sentence "${line}")
  string(FIND "${output}" "${sentence}" position)
  if(position EQUAL -1)
    message(FATAL_ERROR "the compiler did not say \"${sentence}\", but:\n${output}")
  endif()
endforeach()
