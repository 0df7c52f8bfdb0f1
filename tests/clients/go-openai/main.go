// go-openai, the community's client for Go.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/sashabaranov/go-openai"
)

const text = "Hello, 世界!"

var (
	client    = connect()
	ctx       = context.Background()
	errAbsent = errors.New("this server does not have it")
	schema    = map[string]any{
		"type": "object", "required": []string{"city"}, "additionalProperties": false,
		"properties": map[string]any{"city": map[string]any{"type": "string"}},
	}
)

func connect() *openai.Client {
	config := openai.DefaultConfig("unused")
	config.BaseURL = os.Getenv("WEIR_URL") + "/v1"
	config.HTTPClient = &http.Client{Timeout: 20 * time.Second}
	return openai.NewClientWithConfig(config)
}

func chat(model, content string) openai.ChatCompletionRequest {
	messages := []openai.ChatCompletionMessage{{Role: "user", Content: content}}
	return openai.ChatCompletionRequest{Model: model, Messages: messages}
}

// streamChat gives the text and the reasoning of a streamed chat, up to `limit` chunks.
func streamChat(model, content string, limit int) (said, thought string, err error) {
	stream, err := client.CreateChatCompletionStream(ctx, chat(model, content))
	if err != nil {
		return "", "", err
	}
	defer stream.Close()
	for count := 0; count < limit; count++ {
		chunk, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return said, thought, nil
		}
		if err != nil {
			return said, thought, err
		}
		for _, choice := range chunk.Choices {
			said += choice.Delta.Content
			thought += choice.Delta.ReasoningContent
		}
	}
	return said, thought, nil
}

// streamResponse gives the deltas of a streamed response by the type of their events.
func streamResponse(request openai.CreateResponseRequest) (map[string]string, error) {
	deltas := map[string]string{}
	stream, err := client.CreateResponseStream(ctx, request)
	if err != nil {
		return deltas, err
	}
	defer stream.Close()
	for {
		event, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return deltas, nil
		}
		if err != nil {
			return deltas, err
		}
		deltas[string(event.Type)] += event.Delta
	}
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

var checks = []struct {
	name string
	run  func() error
}{
	{"chat_whole", func() error {
		made, err := client.CreateChatCompletion(ctx, chat("demo", "/echo "+text))
		if err != nil {
			return err
		}
		return expect(made.Choices[0].Message.Content == text, "%v", made)
	}},
	{"chat_streamed", func() error {
		said, _, err := streamChat("demo", "/echo "+text, 1000)
		return errors.Join(err, expect(said == text, "%s", said))
	}},
	{"chat_tools", func() error {
		request := chat("demo", "/tool")
		request.Tools = []openai.Tool{{Type: "function", Function: &openai.FunctionDefinition{Name: "get_weather", Parameters: schema}}}
		made, err := client.CreateChatCompletion(ctx, request)
		if err != nil {
			return err
		}
		message := made.Choices[0].Message
		if len(message.ToolCalls) != 1 {
			return fmt.Errorf("no call: %v", made)
		}
		output := openai.ChatCompletionMessage{Role: "tool", Content: "12 degrees", ToolCallID: message.ToolCalls[0].ID}
		request.Messages = append(request.Messages, message, output)
		again, err := client.CreateChatCompletion(ctx, request)
		if err != nil {
			return err
		}
		return expect(strings.Contains(again.Choices[0].Message.Content, "12 degrees"), "%v", again)
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
		var refusal *openai.APIError
		return expect(errors.As(err, &refusal) && refusal.HTTPStatusCode == 429, "no status: %v", err)
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
		made, err := client.CreateResponse(ctx, openai.CreateResponseRequest{Model: "demo", Input: "/echo " + text})
		if err != nil {
			return err
		}
		return expect(made.GetOutputText() == text, "%v", made)
	}},
	{"responses_streamed", func() error {
		deltas, err := streamResponse(openai.CreateResponseRequest{Model: "demo", Input: "/echo " + text})
		return errors.Join(err, expect(deltas["response.output_text.delta"] == text, "%v", deltas))
	}},
	{"responses_reasoning", func() error {
		deltas, err := streamResponse(openai.CreateResponseRequest{Model: "demo", Input: "/think rain"})
		return errors.Join(err, expect(strings.Contains(deltas["response.reasoning_text.delta"], "rain"), "%v", deltas))
	}},
	{"responses_failed", func() error {
		for _, command := range []string{"/fail 5", "/cut 5"} {
			deltas, err := streamResponse(openai.CreateResponseRequest{Model: "demo", Input: command})
			if _, isFailed := deltas["response.failed"]; err == nil && !isFailed {
				return fmt.Errorf("%s passes for whole: %v", command, deltas)
			}
		}
		return nil
	}},
	{"embeddings", func() error {
		if !slices.Contains(strings.Split(os.Getenv("WEIR_PATHS"), ","), "embeddings") {
			return errAbsent
		}
		made, err := client.CreateEmbeddings(ctx, openai.EmbeddingRequest{Model: "demo", Input: []string{"one", "two"}})
		if err != nil {
			return err
		}
		return expect(len(made.Data) == 2 && len(made.Data[0].Embedding) > 0, "%v", made)
	}},
}

func main() {
	info, _ := debug.ReadBuildInfo()
	for _, module := range info.Deps {
		fmt.Println("version", module.Path[strings.LastIndex(module.Path, "/")+1:], module.Version)
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
