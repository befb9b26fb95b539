# SPDX-FileCopyrightText: 2026 the moe authors
# SPDX-License-Identifier: MIT
#
# cmake -DTOOL=run_checkpoint -DSAME=same_tensors -DCHECKPOINTS=tests/io/checkpoints -DOUT=folder -P this
# Runs the tool on synthetic checkpoints and compares what it wrote with what an independent
# implementation computed; then what it says of bad arguments and files.

function(run code pattern)
  execute_process(COMMAND ${TOOL} ${ARGN} RESULT_VARIABLE result OUTPUT_VARIABLE text ERROR_VARIABLE text)
  if(NOT result STREQUAL code)
    message(FATAL_ERROR "run_checkpoint ${ARGN}: exit code ${result}, expected ${code}\n${text}")
  endif()
  if(NOT text MATCHES "${pattern}")
    message(FATAL_ERROR "run_checkpoint ${ARGN}: expected '${pattern}' in\n${text}")
  endif()
  set(text "${text}" PARENT_SCOPE)
endfunction()

# case;tolerance of the weights' rounding;options
function(compare name tolerance)
  set(folder ${CHECKPOINTS}/${name})
  run(0 "family .*layers .*parameters .*bytes " ${folder} --info)
  string(REGEX MATCHALL "\n +[0-9]+  " rows "${text}")
  list(GET rows -1 last)
  string(STRIP "${last}" layer)
  set(out ${OUT}/run_checkpoint_${name}.safetensors)
  file(REMOVE ${out})
  run(0 "tokens per expert .* tokens/s with 2 threads" ${folder} --layer ${layer}
      --input ${folder}/expected.safetensors --output ${out} --threads 2 ${ARGN})
  foreach(tensors IN ITEMS "${tolerance};y" "1e-5;expert_weights;router_logits" "0;expert_ids")
    execute_process(COMMAND ${SAME} ${out} ${folder}/expected.safetensors ${tensors}
                    RESULT_VARIABLE result OUTPUT_VARIABLE text ERROR_VARIABLE text)
    if(NOT result EQUAL 0)
      message(FATAL_ERROR "${name} ${ARGN}: other values than expected\n${text}")
    endif()
  endforeach()
endfunction()

foreach(name IN ITEMS mixtral qwen3_moe gpt_oss llama4 deepseek_v4_hash)
  compare(${name} 1e-5)
endforeach()
compare(deepseek_v3 0.015 --dtype bf16)
compare(mixtral_fp8 1e-5 --preset hf)

set(mixtral ${CHECKPOINTS}/mixtral)
set(run_it --input ${mixtral}/expected.safetensors --output ${OUT}/run_checkpoint_bad.safetensors)
run(0 "usage: run_checkpoint PATH --info" --help)
run(2 "no PATH given" --info)
run(2 "second PATH" ${mixtral} ${mixtral} --info)
run(2 "--layer N is expected" ${mixtral} ${run_it})
run(2 "--input FILE is expected" ${mixtral} --layer 0)
run(2 "--dtype is 'f16', expected f32 or bf16" ${mixtral} --info --dtype f16)
run(2 "--preset is 'vllm', expected official" ${mixtral} --info --preset vllm)
run(2 "--layer is 'x', expected a whole number from 0" ${mixtral} --layer x)
run(2 "--threads" ${mixtral} --layer 0 ${run_it} --threads -1)
run(2 "--nonsense" ${mixtral} --nonsense)
run(1 "layer 7 has no experts; layers with experts: 0, 1" ${mixtral} --layer 7 ${run_it})
run(1 "config.json" ${OUT}/no_such_folder --info)
run(1 "tensor 'x' is \\[9, 20\\], expected \\[T, 64\\]" ${CHECKPOINTS}/gpt_oss --layer 0 ${run_it})
run(1 "has no tensor 'token_ids', by which" ${CHECKPOINTS}/deepseek_v4_hash --layer 0
    --input ${CHECKPOINTS}/gpt_oss/expected.safetensors --output ${OUT}/run_checkpoint_bad.safetensors)
run(1 "no_such_file" ${mixtral} --layer 0 --input ${OUT}/no_such_file --output ${OUT}/x)
run(1 "has no metadata 'moe'" ${mixtral}/model.safetensors --info)
