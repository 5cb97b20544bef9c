//! A streamed generation, as answers are made, against llama.cpp's own loop over as many tokens in
//! the same process: same file, context, threads and batches.

use std::time::{Duration, Instant};

use docent_engine::parts::{ChatTurn, GenerationRequest, Generator, LlamaGenerator};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::Stage;
use super::report::{Report, Row};
use super::rounds::Paired;
use crate::failure::Failure;

/// Written in each round: some seconds.
const TOKENS: u32 = 128;

/// What is read before, about 250 tokens: enough that attention costs what it costs in a chat.
const SENTENCES: usize = 12;

struct Speed {
    /// Tokens a second.
    reading: f64,
    writing: f64,
}

pub async fn measure(stage: &Stage) -> Result<Report, Failure> {
    let model = stage.config.generator.clone();
    stage
        .with_engine(&[&model], async |engine| {
            let generator = engine.llama_generator().await?;
            // Loads the model, and says how long the prompt is.
            let (prompt_tokens, written, _) = stream(&generator, 0).await?;
            let paired = Paired::run(
                stage.rounds,
                async |round| Ok(stream(&generator, round + 1).await?.2),
                async |_| {
                    let own = generator
                        .benchmark(prompt_tokens, written)
                        .await
                        .map_err(failed)?;
                    Ok(Speed {
                        reading: own.prompt_tokens_per_second(),
                        writing: own.generated_tokens_per_second(),
                    })
                },
            )
            .await;
            generator.unload().await;
            let paired = paired?;
            let row = |name, value: fn(&Speed) -> f64| {
                Row::new(name, paired.figure(value), "tokens/s").against(
                    "in llama.cpp's own loop",
                    paired.baseline(value),
                    paired.ratio(value),
                )
            };
            let setting = format!(
                "{model}, {prompt_tokens} tokens read and {written} written, median of {}",
                stage.rounds
            );
            Ok(Report::new(
                setting,
                vec![
                    row("writing", |speed| speed.writing).ratio_at_least(0.95),
                    row("reading the prompt", |speed| speed.reading),
                ],
            )
            .note("Both speeds are taken where the answer arrives, in this process."))
        })
        .await
}

/// One generation: tokens of its prompt, tokens written, and how fast.
async fn stream(generator: &LlamaGenerator, round: usize) -> Result<(u32, u32, Speed), Failure> {
    let text = "The contract is signed for a fixed term, and it ends when that term is over. "
        .repeat(SENTENCES);
    // The number stands first, so that nothing of an earlier round's prompt can be reused.
    let question = format!("Round {round}. {text}\nWrite a long story about a lighthouse keeper.");
    let request = GenerationRequest::greedy(vec![ChatTurn::user(question)], TOKENS);
    let (pieces, mut received) = mpsc::channel(64);
    let begun = Instant::now();
    let generating = generator.generate(request, pieces, CancellationToken::new());
    let first = async {
        let first = received.recv().await.map(|_| Instant::now());
        while received.recv().await.is_some() {}
        first
    };
    let (generation, first) = tokio::join!(generating, first);
    let ended = Instant::now();
    let generation = generation.map_err(failed)?;
    let (Some(first), true) = (first, generation.generated_tokens > TOKENS / 2) else {
        let message = format!("the model wrote only {:?}", generation.text);
        return Err(Failure::internal(message));
    };
    let per_second = |tokens: u32, time: Duration| f64::from(tokens) / time.as_secs_f64();
    let read = generation.prompt_tokens - generation.reused_tokens;
    let speed = Speed {
        reading: per_second(read, first - begun),
        // The first piece shows the first token; the model ran once for each further one.
        writing: per_second(generation.generated_tokens - 1, ended - first),
    };
    Ok((generation.prompt_tokens, generation.generated_tokens, speed))
}

fn failed(error: impl std::fmt::Display) -> Failure {
    Failure::internal(error.to_string())
}
