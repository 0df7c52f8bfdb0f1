// OpenAI's SDK for Go. The same program is built with several versions: those before 3.43 dispatch an event at every empty line.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"github.com/openai/openai-go/v3/packages/param"
	"github.com/openai/openai-go/v3/responses"
	"github.com/openai/openai-go/v3/shared"
)

const text = "Hello, 世界!"

var (
	base      = os.Getenv("WEIR_URL") + "/v1"
	timeout   = option.WithRequestTimeout(20 * time.Second)
	client    = openai.NewClient(option.WithBaseURL(base), option.WithAPIKey("unused"), option.WithMaxRetries(0), timeout)
	ctx       = context.Background()
	errAbsent = errors.New("this server does not have it")
	schema    = map[string]any{
		"type": "object", "required": []string{"city"}, "additionalProperties": false,
		"properties": map[string]any{"city": map[string]any{"type": "string"}},
	}
)

func chat(model, content string) openai.ChatCompletionNewParams {
	return openai.ChatCompletionNewParams{Model: model, Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage(content)}}
}

func respond(model, content string) responses.ResponseNewParams {
	return responses.ResponseNewParams{Model: model, Input: responses.ResponseNewParamsInputUnion{OfString: openai.String(content)}}
}

// streamChat gives the text and the reasoning of a streamed chat, up to `limit` chunks.
func streamChat(model, content string, limit int) (said, thought string, err error) {
	stream := client.Chat.Completions.NewStreaming(ctx, chat(model, content))
	defer stream.Close()
	for count := 0; count < limit && stream.Next(); count++ {
		for _, choice := range stream.Current().Choices {
			said += choice.Delta.Content
			var extra struct {
				Reasoning string `json:"reasoning_content"`
			}
			if err := json.Unmarshal([]byte(choice.Delta.RawJSON()), &extra); err != nil {
				return said, thought, err
			}
			thought += extra.Reasoning
		}
	}
	return said, thought, stream.Err()
}

// streamResponse gives the deltas of a streamed response by the type of their events, until one of type `last` has come.
func streamResponse(params responses.ResponseNewParams, last string) (map[string]string, error) {
	deltas := map[string]string{}
	stream := client.Responses.NewStreaming(ctx, params)
	defer stream.Close()
	for stream.Next() {
		event := stream.Current()
		deltas[event.Type] += event.Delta
		if event.Type == last {
			return deltas, nil
		}
	}
	return deltas, stream.Err()
}

func left() error {
	response, err := http.Get(os.Getenv("UPSTREAM_URL") + "/left")
	if err != nil {
		return err
	}
	defer response.Body.Close()
	return expect(response.StatusCode == 200, "the upstream was not left")
}

func expect(isTrue bool, words string, values ...any) error {
	if isTrue {
		return nil
	}
	return fmt.Errorf(words, values...)
}

func hasStatus(err error, status int) error {
	var refusal *openai.Error
	return expect(errors.As(err, &refusal) && refusal.StatusCode == status, "no status %d: %v", status, err)
}

var checks = []struct {
	name string
	run  func() error
}{
	{"chat_whole", func() error {
		made, err := client.Chat.Completions.New(ctx, chat("demo", "/echo "+text))
		if err != nil {
			return err
		}
		return expect(made.Choices[0].Message.Content == text, "%s", made.RawJSON())
	}},
	{"chat_streamed", func() error {
		said, _, err := streamChat("demo", "/echo "+text, 1000)
		return errors.Join(err, expect(said == text, "%s", said))
	}},
	{"chat_tools", func() error {
		function := shared.FunctionDefinitionParam{Name: "get_weather", Description: openai.String("The weather in a city"), Parameters: schema}
		params := chat("demo", "/tool")
		params.Tools = []openai.ChatCompletionToolUnionParam{openai.ChatCompletionFunctionTool(function)}
		made, err := client.Chat.Completions.New(ctx, params)
		if err != nil {
			return err
		}
		message := made.Choices[0].Message
		if len(message.ToolCalls) != 1 || message.ToolCalls[0].Function.Name != "get_weather" {
			return fmt.Errorf("no call: %s", made.RawJSON())
		}
		params.Messages = append(params.Messages, message.ToParam(), openai.ToolMessage("12 degrees", message.ToolCalls[0].ID))
		again, err := client.Chat.Completions.New(ctx, params)
		if err != nil {
			return err
		}
		return expect(strings.Contains(again.Choices[0].Message.Content, "12 degrees"), "%s", again.RawJSON())
	}},
	{"chat_reasoning", func() error {
		_, thought, err := streamChat("demo", "/think rain", 1000)
		return errors.Join(err, expect(strings.Contains(thought, "rain"), "%q", thought))
	}},
	{"chat_failed", func() error {
		_, _, failed := streamChat("demo", "/fail 5", 1000)
		_, _, cut := streamChat("demo", "/cut 5", 1000)
		return errors.Join(
			expect(failed != nil && strings.Contains(failed.Error(), "The demo failed"), "failed: %v", failed),
			expect(cut != nil, "a stream that was cut passes for whole"),
		)
	}},
	{"chat_status", func() error {
		_, _, err := streamChat("demo", "/status 429", 1000)
		return hasStatus(err, 429)
	}},
	{"chat_heartbeats", func() error {
		said, _, err := streamChat("demo", "/slow 700", 3)
		return errors.Join(err, expect(said != "", "no text"))
	}},
	{"chat_abort", func() error {
		if _, _, err := streamChat("fake", "/endless", 1); err != nil {
			return err
		}
		return left()
	}},
	{"responses_whole", func() error {
		made, err := client.Responses.New(ctx, respond("demo", "/echo "+text))
		if err != nil {
			return err
		}
		return expect(made.OutputText() == text, "%s", made.RawJSON())
	}},
	{"responses_streamed", func() error {
		deltas, err := streamResponse(respond("demo", "/echo "+text), "response.completed")
		return errors.Join(err, expect(deltas["response.output_text.delta"] == text, "%v", deltas))
	}},
	{"responses_tools", func() error {
		function := responses.FunctionToolParam{Name: "get_weather", Parameters: schema, Strict: openai.Bool(true)}
		tools := []responses.ToolUnionParam{{OfFunction: &function}}
		params := respond("demo", "/tool")
		params.Tools = tools
		first, err := client.Responses.New(ctx, params)
		if err != nil {
			return err
		}
		index := slices.IndexFunc(first.Output, func(item responses.ResponseOutputItemUnion) bool { return item.Type == "function_call" })
		if index < 0 {
			return fmt.Errorf("no call: %s", first.RawJSON())
		}
		// The type of `call_id` differs between the versions.
		output := param.Override[responses.ResponseInputItemUnionParam](map[string]any{
			"type": "function_call_output", "call_id": first.Output[index].CallID, "output": "12 degrees",
		})
		again, err := client.Responses.New(ctx, responses.ResponseNewParams{
			Model: "demo", Tools: tools, PreviousResponseID: openai.String(first.ID),
			Input: responses.ResponseNewParamsInputUnion{OfInputItemList: responses.ResponseInputParam{output}},
		})
		if err != nil {
			return err
		}
		return expect(strings.Contains(again.OutputText(), "12 degrees"), "%s", again.RawJSON())
	}},
	{"responses_reasoning", func() error {
		deltas, err := streamResponse(respond("demo", "/think rain"), "response.completed")
		return errors.Join(err, expect(strings.Contains(deltas["response.reasoning_text.delta"], "rain"), "%v", deltas))
	}},
	{"responses_reasoning_summary", func() error {
		params := respond("demo", "/think rain")
		params.Reasoning = shared.ReasoningParam{Summary: shared.ReasoningSummaryAuto}
		deltas, err := streamResponse(params, "response.completed")
		return errors.Join(err, expect(strings.Contains(deltas["response.reasoning_summary_text.delta"], "rain"), "%v", deltas))
	}},
	{"responses_failed", func() error {
		for _, command := range []string{"/fail 5", "/cut 5"} {
			deltas, err := streamResponse(respond("demo", command), "response.failed")
			if _, isFailed := deltas["response.failed"]; err == nil && !isFailed {
				return fmt.Errorf("%s passes for whole: %v", command, deltas)
			}
		}
		return nil
	}},
	{"responses_status", func() error {
		_, err := streamResponse(respond("fake", "/status 429"), "")
		return hasStatus(err, 429)
	}},
	{"responses_heartbeats", func() error {
		_, err := streamResponse(respond("demo", "/slow 700"), "response.output_text.delta")
		return err
	}},
	{"responses_abort", func() error {
		params := respond("fake", "/endless")
		params.Store = openai.Bool(false)
		if _, err := streamResponse(params, "response.output_text.delta"); err != nil {
			return err
		}
		return left()
	}},
	{"embeddings", func() error {
		if !slices.Contains(strings.Split(os.Getenv("WEIR_PATHS"), ","), "embeddings") {
			return errAbsent
		}
		input := openai.EmbeddingNewParamsInputUnion{OfArrayOfStrings: []string{"one", "two"}}
		made, err := client.Embeddings.New(ctx, openai.EmbeddingNewParams{Model: "demo", Input: input})
		if err != nil {
			return err
		}
		return expect(len(made.Data) == 2 && len(made.Data[0].Embedding) > 0, "%s", made.RawJSON())
	}},
}

func main() {
	info, _ := debug.ReadBuildInfo()
	for _, module := range info.Deps {
		if strings.HasPrefix(module.Path, "github.com/openai/") {
			fmt.Println("version openai-go", module.Version)
		}
	}
	for _, check := range checks {
		switch err := check.run(); {
		case err == nil:
			fmt.Println("passed", check.name)
		case errors.Is(err, errAbsent):
			fmt.Printf("skipped %s: %v\n", check.name, err)
		default:
			fmt.Printf("failed %s: %s\n", check.name, strings.Join(strings.Fields(err.Error()), " "))
		}
	}
}
