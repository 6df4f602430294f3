//! An expression of a Prometheus server: an instant query by its HTTP API, and what its answer means.

use super::controller::Page;
use crate::journal::Told;
use serde::Deserialize;
use std::{collections::BTreeMap, fmt::Write as _};

/// Where the query is put.
pub(super) fn query_url(server: &str, query: &str) -> String {
    let mut url = format!("{}/api/v1/query?query=", server.trim_end_matches('/'));
    for byte in query.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                url.push(char::from(byte));
            }
            // Writing to a string does not fail.
            _ => drop(write!(url, "%{byte:02X}")),
        }
    }
    url
}

#[derive(Deserialize)]
struct Answer {
    status: String,
    data: Option<Data>,
    error: Option<String>,
}

#[derive(Deserialize)]
#[serde(tag = "resultType", content = "result", rename_all = "lowercase")]
enum Data {
    Vector(Vec<Sample>),
    Scalar((f64, String)),
    String(serde::de::IgnoredAny),
    Matrix(serde::de::IgnoredAny),
}

#[derive(Deserialize)]
struct Sample {
    metric: BTreeMap<String, String>,
    value: (f64, String),
}

/// What an answer means. As for an alert the condition holds for each series that the expression has a value for, whatever
/// that is; a scalar holds where it is not zero.
pub(super) fn told_by(page: Result<Page, String>) -> Told {
    let unclear = |reason: String| Told::Unclear { reason };
    let page = match page {
        Ok(page) => page,
        Err(reason) => return unclear(reason),
    };
    let answer: Answer = match serde_json::from_str(&page.text) {
        Ok(answer) => answer,
        Err(_) if page.status != 200 => {
            return unclear(format!("the server says {}", page.status));
        }
        Err(error) => return unclear(format!("the answer is not that of Prometheus: {error}")),
    };
    match (answer.status.as_str(), answer.data) {
        ("success", Some(data)) if page.status == 200 => meaning(data),
        (_, _) => {
            let error = answer.error.unwrap_or_else(|| "no data".to_owned());
            unclear(format!("the server says {}: {error}", page.status))
        }
    }
}

fn meaning(data: Data) -> Told {
    let unclear = |reason: &str| Told::Unclear { reason: reason.to_owned() };
    match data {
        Data::Vector(samples) => {
            let known: Vec<&Sample> =
                samples.iter().filter(|sample| !is_nan(&sample.value.1)).collect();
            match (known.first(), samples.is_empty()) {
                (_, true) => Told::Well,
                (None, false) => unclear("its value is no number"),
                (Some(first), false) => {
                    let labels: Vec<String> =
                        first.metric.iter().map(|(k, v)| format!("{k}={v}")).collect();
                    let mut said = format!("{{{}}} is {}", labels.join(", "), first.value.1);
                    if known.len() > 1 {
                        // Writing to a string does not fail.
                        let _ = write!(said, ", and {} more", known.len() - 1);
                    }
                    Told::Bad { said }
                }
            }
        }
        Data::Scalar((_, value)) if is_nan(&value) => unclear("its value is no number"),
        Data::Scalar((_, value)) => match value.parse::<f64>() {
            Ok(0.0) => Told::Well,
            Ok(_) => Told::Bad { said: format!("it is {value}") },
            // Infinite values are written as +Inf and -Inf, which parse.
            Err(_) => unclear("its value is no number"),
        },
        Data::String(_) | Data::Matrix(_) => {
            unclear("an instant query for a vector or a scalar is needed")
        }
    }
}

fn is_nan(value: &str) -> bool {
    value.parse::<f64>().is_ok_and(f64::is_nan)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_answer_has_its_meaning() {
        let vector = |result: &str| {
            format!(
                r#"{{"status":"success","data":{{"resultType":"vector","result":[{result}]}}}}"#
            )
        };
        let sample =
            |value: &str| format!(r#"{{"metric":{{"job":"web"}},"value":[1.5,"{value}"]}}"#);
        let scalar = |value: &str| {
            format!(
                r#"{{"status":"success","data":{{"resultType":"scalar","result":[1.5,"{value}"]}}}}"#
            )
        };
        let matrix = r#"{"status":"success","data":{"resultType":"matrix","result":[]}}"#;
        let error = r#"{"status":"error","errorType":"bad_data","error":"parse error"}"#;
        let cases: [(u16, String, &str); 17] = [
            (200, vector(""), "well"),
            (200, vector(&sample("7")), "{job=web} is 7"),
            // As for an alert: that there is a value counts, and not which.
            (200, vector(&sample("0")), "{job=web} is 0"),
            (200, vector(&sample("+Inf")), "{job=web} is +Inf"),
            (
                200,
                vector(&format!("{},{}", sample("7"), sample("8"))),
                "{job=web} is 7, and 1 more",
            ),
            (200, vector(&sample("NaN")), "inconclusive: its value is no number"),
            (200, vector(&format!("{},{}", sample("NaN"), sample("8"))), "{job=web} is 8"),
            (200, scalar("0"), "well"),
            (200, scalar("1"), "it is 1"),
            (200, scalar("NaN"), "inconclusive: its value is no number"),
            (
                200,
                matrix.to_owned(),
                "inconclusive: an instant query for a vector or a scalar is needed",
            ),
            (400, error.to_owned(), "inconclusive: the server says 400: parse error"),
            (200, error.to_owned(), "inconclusive: the server says 200: parse error"),
            (503, vector(""), "inconclusive: the server says 503: no data"),
            (502, "<html>".to_owned(), "inconclusive: the server says 502"),
            (200, String::new(), "inconclusive: the answer is not that of Prometheus"),
            (
                200,
                r#"{"status":"success"}"#.to_owned(),
                "inconclusive: the server says 200: no data",
            ),
        ];
        for (status, text, expected) in cases {
            let told = told_by(Ok(Page { status, text: text.clone() })).to_string();
            assert!(told.starts_with(expected), "{status} {text}: {told}");
        }
        let gone = told_by(Err("connection refused".to_owned()));
        assert_eq!(gone.to_string(), "inconclusive: connection refused");
    }

    #[test]
    fn a_query_is_a_part_of_its_address() {
        assert_eq!(
            query_url("http://p:9090/", "sum(x{a=\"b c\"}) > 5 % ü"),
            "http://p:9090/api/v1/query?query=sum%28x%7Ba%3D%22b%20c%22%7D%29%20%3E%205%20%25%20%C3%BC"
        );
    }
}
