# The five-minute selection behind the target `bench`: cmake -DPROGRAMS=<dir> -P run.cmake
# Repetitions of one group are interleaved at random, ours with the peers'; the table shows medians.
set(ENV{GLIBC_TUNABLES} "glibc.malloc.hugetlb=1") # large pages for everyone's weights
set(results ${PROGRAMS}/results)
file(REMOVE_RECURSE ${results})
file(MAKE_DIRECTORY ${results})

# group(<name> <program> <repetitions> <seconds per repetition> <filter>)
function(group name program repetitions seconds filter)
  if(NOT EXISTS ${PROGRAMS}/${program})
    return()
  endif()
  message(STATUS "bench: ${name}")
  execute_process(
    COMMAND
      ${PROGRAMS}/${program} --benchmark_filter=${filter} --benchmark_min_time=${seconds}
      --benchmark_repetitions=${repetitions} --benchmark_enable_random_interleaving=true
      --benchmark_out=${results}/${name}.json --benchmark_out_format=json
    OUTPUT_QUIET ERROR_QUIET RESULT_VARIABLE result)
  if(NOT result EQUAL 0)
    message(WARNING "bench: ${program} ended with ${result}")
  endif()
endfunction()

set(fast "(layer|unpacked|peer/(eigen_native|openblas|onednn_packed|torch))")
# Few tokens apart from many, and more often: a call is short, and a pause of the machine is not.
group(00-mixtral-decode bench_layer 7 0.1 "^${fast}/mixtral_small/f32/T:1/threads:1$")
group(01-mixtral-f32 bench_layer 3 0.1 "^${fast}/mixtral_small/f32/T:(64|512)/threads:1$")
group(02-mixtral-f32-2 bench_layer 3 0.1 "^${fast}/mixtral_small/f32/T:(1|512)/threads:2$")
group(03-mixtral-bf16 bench_layer 3 0.1 "^${fast}/mixtral_small/bf16/T:(1|512)/threads:1$")
group(04-qwen-f32 bench_layer 3 0.1 "^${fast}/qwen3_30b/f32/T:(8|512)/threads:1$")
group(05-olmoe-f32 bench_layer 3 0.1 "^${fast}/olmoe/f32/T:(8|512)/threads:1$")
group(06-switch bench_layer 5 0.05 "/switch_base_8/f32/T:(1|64|1024)/threads:1$")
group(07-tiny bench_layer 5 0.05 "/tiny/f32/T:(1|64|1024)/threads:1$")
group(08-training bench_training 3 0.1 "(mixtral_small|tiny)/.*/threads:1$")
group(09-dispatch bench_dispatch_combine 5 0.02 "^(dispatch|combine)/D:2048/.*/rows:(64|512|4096)/threads:1")
group(10-gate bench_gate 5 0.02 "E:(8|128)/T:512$")

file(GLOB files ${results}/*.json)
execute_process(COMMAND ${PROGRAMS}/bench_table "cmake --build build --target bench" ${files})
