//! The terms of a page, with their names in Chinese course notes.

use std::fmt::Write;

/// English, Chinese and what it means; the meaning is HTML with LaTeX.
type Term = (&'static str, &'static str, &'static str);

/// Terms of every page, in the order in which the page uses them.
const TERMS: [Term; 13] = [
    (
        "diffusion model",
        "扩散模型",
        "A model that generates data by removing noise step by step.",
    ),
    (
        "forward process",
        "前向过程",
        "The chain from data $x_0$ to noise $x_T$. It is fixed, not learned.",
    ),
    (
        "adding noise",
        "加噪",
        "One step of the forward process, or several at once.",
    ),
    (
        "noise schedule",
        "噪声调度",
        r"The noise variances $\beta_1, \dots, \beta_T$ of the forward steps.",
    ),
    (
        "signal-to-noise ratio",
        "信噪比",
        r"$\bar\alpha_t / (1 - \bar\alpha_t)$, printed in decibels.",
    ),
    (
        "posterior",
        "后验分布",
        "The distribution of $x_{t-1}$ when both $x_t$ and $x_0$ are known.",
    ),
    (
        "posterior variance",
        "后验方差",
        r"Its variance, $\tilde\beta_t$.",
    ),
    (
        "training",
        "训练",
        "Fitting the network to known pairs of data and noise.",
    ),
    (
        "noise prediction",
        "噪声预测",
        r"Training the network to estimate $\varepsilon$.",
    ),
    (
        "reverse process",
        "逆向过程",
        "The chain from noise $x_T$ back to data $x_0$.",
    ),
    ("denoising", "去噪", "One step of the reverse process."),
    (
        "sampling",
        "采样",
        "Running the reverse process to generate data.",
    ),
    (
        "probability flow",
        "概率流",
        "The differential equation without noise whose solutions have the same distribution at every $t$ as the forward process.",
    ),
];

/// Terms that only the page of a point model uses.
const OF_POINTS: [Term; 3] = [
    (
        "posterior mean",
        "后验均值",
        r"$\mathrm{E}[x_0 \mid x_t]$, the estimate with the least mean squared error.",
    ),
    (
        "score",
        "得分函数",
        "The gradient of $\\ln p(x_t)$ with respect to $x_t$.",
    ),
    (
        "reverse SDE",
        "逆向随机微分方程",
        "The stochastic differential equation of the reverse process.",
    ),
];

/// The page's last section.
pub fn glossary(page: &mut String, of_points: bool) {
    *page += "<h2 id=\"glossary\">Glossary</h2>\n<p>The terms of this page in the order of their appearance, each with its name in Chinese course notes.</p>\n<div class=\"scroll\"><table class=\"glossary\">\n<tr><th>term</th><th>in Chinese</th><th>meaning</th></tr>\n";
    let more: &[Term] = if of_points { &OF_POINTS } else { &[] };
    for (english, chinese, meaning) in TERMS.iter().chain(more) {
        let _ = writeln!(
            page,
            "<tr><td>{english}</td><td lang=\"zh\">{chinese}</td><td>{meaning}</td></tr>"
        );
    }
    *page += "</table></div>\n";
}
